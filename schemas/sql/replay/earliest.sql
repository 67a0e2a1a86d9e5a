-- Where compaction has taken the first copy of a statement, the tables still know since when it is known.
UPDATE record_history h
SET known_at = LEAST(h.known_at, s.known_at), received_at = LEAST(h.received_at, s.received_at),
    accepted_offset = s.accepted_offset
FROM {serving}.record_history s
WHERE (h.record_id, h.epoch, h.version, h.digest_hi, h.digest_lo) = (s.record_id, s.epoch, s.version, s.digest_hi, s.digest_lo)
  AND h.accepted_partition = s.accepted_partition AND s.accepted_offset < h.accepted_offset
