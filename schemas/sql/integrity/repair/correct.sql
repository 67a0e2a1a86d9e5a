-- Corrects rows of history that differ from their message. A message that was written twice is known since the first one, which
-- compaction may have taken away: an earlier time stays, unless the message at that very place has another.
UPDATE record_history h
SET status = t.status, uscc = t.uscc, reason = t.reason, disputed = t.disputed, removed = t.removed, decided_on = t.decided_on,
    writer = t.writer, statement = t.statement, accepted_partition = t.accepted_partition, accepted_offset = t.accepted_offset,
    known_at = CASE
        WHEN (h.accepted_partition, h.accepted_offset) = (t.accepted_partition, t.accepted_offset) THEN t.known_at
        ELSE LEAST(h.known_at, t.known_at)
    END
FROM told t
WHERE h.record_id = t.record_id AND h.province = t.province AND h.department = t.department
  AND (h.epoch, h.version, h.digest_hi, h.digest_lo) = (t.epoch, t.version, t.digest_hi, t.digest_lo)
  AND (h.status, h.uscc, h.reason, h.statement, h.accepted_partition, h.accepted_offset, h.known_at)
      IS DISTINCT FROM (t.status, t.uscc, t.reason, t.statement, t.accepted_partition, t.accepted_offset, t.known_at)
