-- A record is known since the first copy of its statement, as in known.sql.
UPDATE record r SET known_at = LEAST(r.known_at, e.known_at)
FROM rebuild_earlier e
WHERE (r.record_id, r.epoch, r.version, r.digest_hi, r.digest_lo) = (e.record_id, e.epoch, e.version, e.digest_hi, e.digest_lo)
