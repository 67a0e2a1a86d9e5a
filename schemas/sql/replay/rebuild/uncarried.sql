-- Evidence that only the tables still have: erased statements that the compaction of accepted has removed.
INSERT INTO rebuild_carried (
    record_id, version, digest_hi, digest_lo, status, uscc, known_at, accepted_partition, accepted_offset, writer, statement,
    province, department, reason, disputed, removed, received_at, decided_on, epoch
)
SELECT s.record_id, s.version, s.digest_hi, s.digest_lo, s.status, s.uscc, s.known_at, s.accepted_partition, s.accepted_offset,
       n.writer, s.statement, s.province, s.department, s.reason, s.disputed, s.removed, s.received_at, s.decided_on, s.epoch
FROM {serving}.record_history s
JOIN rebuild_log l ON l.topic = 'accepted' AND l.partition = s.accepted_partition AND s.accepted_offset < l.end_offset
JOIN {serving}.writer_schema w ON w.writer = s.writer
JOIN writer_schema n USING (fingerprint)
WHERE s.statement IS NULL
  AND NOT EXISTS (
      SELECT FROM record_history h
      WHERE (h.record_id, h.epoch, h.version, h.digest_hi, h.digest_lo) = (s.record_id, s.epoch, s.version, s.digest_hi, s.digest_lo)
  )
  AND NOT EXISTS (
      SELECT FROM replay_refused r
      WHERE (r.record_id, r.version, r.digest_hi, r.digest_lo)
          = (replace(s.record_id::text, '-', ''), s.version, s.digest_hi, s.digest_lo)
  )
