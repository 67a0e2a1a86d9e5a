-- Revoked: as if it had never been. Content of every statement that a revocation outranks goes, late arrivals too;
-- the digests stay as evidence.
UPDATE record_history h
SET statement = NULL, decided_on = NULL
FROM (SELECT DISTINCT record_id FROM suspect) s
JOIN record_history r ON r.record_id = s.record_id AND r.status = 'REVOKED'
WHERE h.record_id = r.record_id
  AND (h.version, h.digest_hi, h.digest_lo) < (r.version, r.digest_hi, r.digest_lo)
  AND h.statement IS NOT NULL
