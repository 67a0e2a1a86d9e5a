-- So do the records that those statements are.
UPDATE record r SET known_at = h.known_at
FROM record_history h
WHERE (h.record_id, h.province, h.department, h.epoch, h.version, h.digest_hi, h.digest_lo)
    = (r.record_id, r.province, r.department, r.epoch, r.version, r.digest_hi, r.digest_lo) AND h.known_at < r.known_at
