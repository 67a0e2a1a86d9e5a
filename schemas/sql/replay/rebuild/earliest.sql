-- First copies of statements that compaction has removed from the log: the serving tables still have their times and offsets.
INSERT INTO rebuild_earlier (record_id, epoch, version, digest_hi, digest_lo, known_at, received_at, accepted_offset)
SELECT h.record_id, h.epoch, h.version, h.digest_hi, h.digest_lo, min(s.known_at), min(s.received_at), min(s.accepted_offset)
FROM record_history h
JOIN {serving}.record_history s
    ON (h.record_id, h.epoch, h.version, h.digest_hi, h.digest_lo) = (s.record_id, s.epoch, s.version, s.digest_hi, s.digest_lo)
    AND h.accepted_partition = s.accepted_partition AND s.accepted_offset < h.accepted_offset
GROUP BY 1, 2, 3, 4, 5
