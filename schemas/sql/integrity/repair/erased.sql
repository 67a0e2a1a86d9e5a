-- Empties statements that a higher one erases (撤销; for other provinces also one that ends a record).
UPDATE told t
SET statement = NULL, decided_on = NULL
FROM told e
WHERE e.record_id = t.record_id AND e.province = t.province AND e.department = t.department
  AND (e.status = 'REVOKED' OR e.epoch > 0 AND e.status <> 'IN_FORCE')
  AND (e.epoch, e.version, e.digest_hi, e.digest_lo) > (t.epoch, t.version, t.digest_hi, t.digest_lo)
