-- Said again, and received earlier than what was taken for the first: the earlier time counts, whatever the order.
UPDATE record_history h
SET received_at = s.received_at
FROM (
    SELECT record_id, epoch, version, digest_hi, digest_lo, min(received_at) AS received_at FROM suspect GROUP BY 1, 2, 3, 4, 5
) s
WHERE h.record_id = s.record_id AND h.epoch = s.epoch AND h.version = s.version AND h.digest_hi = s.digest_hi AND h.digest_lo = s.digest_lo
  AND h.received_at > s.received_at
