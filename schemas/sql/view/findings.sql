-- What the department should know of statements that were accepted: older than what is held, two contents with one
-- version, in force again after a revocation without saying so.
SELECT s."row", 'OLDER' AS outcome, 'OLDER' AS code, held.version::text AS detail
FROM suspect s
JOIN record held USING (record_id)
WHERE (s.version, s.digest_hi, s.digest_lo) < (held.version, held.digest_hi, held.digest_lo)
UNION ALL
SELECT s."row", 'FLAGGED', 'VERSION_CONFLICT', NULL
FROM suspect s
WHERE EXISTS (
    SELECT FROM record_history h
    WHERE h.record_id = s.record_id AND h.version = s.version AND (h.digest_hi, h.digest_lo) <> (s.digest_hi, s.digest_lo)
)
UNION ALL
SELECT s."row", 'FLAGGED', 'REVIVED', NULL
FROM suspect s
WHERE s.status = 'IN_FORCE' AND s.reason NOT IN ('RELISTED', 'CORRECTED')
  AND EXISTS (
    SELECT FROM record_history h
    WHERE h.record_id = s.record_id AND h.status = 'REVOKED'
      AND (h.version, h.digest_hi, h.digest_lo) < (s.version, s.digest_hi, s.digest_lo)
)
ORDER BY 1, 3
