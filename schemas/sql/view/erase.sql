-- Revoked: as if it had never been. Content of every statement that a revocation outranks goes, late arrivals too;
-- the digests stay as evidence. Returns what must go from accepted: the statements erased now, and those that came again.
WITH erased AS (
    UPDATE record_history h
    SET statement = NULL
    FROM (SELECT DISTINCT record_id, province, department FROM suspect) s
    JOIN record_history r USING (record_id, province, department)
    WHERE r.status = 'REVOKED'
      AND h.record_id = r.record_id AND h.province = r.province AND h.department = r.department
      AND (h.version, h.digest_hi, h.digest_lo) < (r.version, r.digest_hi, r.digest_lo)
      AND h.statement IS NOT NULL
    RETURNING h.record_id, h.version, h.digest_hi, h.digest_lo, h.accepted_partition
)
SELECT accepted_partition, record_id, version, digest_hi, digest_lo FROM erased
UNION
SELECT s.accepted_partition, s.record_id, s.version, s.digest_hi, s.digest_lo
FROM suspect s
WHERE EXISTS (
    SELECT FROM record_history r
    WHERE r.record_id = s.record_id AND r.status = 'REVOKED' AND r.province = s.province AND r.department = s.department
      AND (r.version, r.digest_hi, r.digest_lo) > (s.version, s.digest_hi, s.digest_lo)
)
ORDER BY 1, 2, 3, 4, 5
