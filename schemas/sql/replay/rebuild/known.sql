-- Times and offset of a statement are those of its first copy.
UPDATE record_history h
SET known_at = LEAST(h.known_at, e.known_at), received_at = LEAST(h.received_at, e.received_at),
    accepted_offset = LEAST(h.accepted_offset, e.accepted_offset)
FROM rebuild_earlier e
WHERE (h.record_id, h.epoch, h.version, h.digest_hi, h.digest_lo) = (e.record_id, e.epoch, e.version, e.digest_hi, e.digest_lo)
