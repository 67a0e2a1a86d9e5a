-- What something above it erases (撤销; of other provinces also what ends a record) is told without its content.
UPDATE told t
SET statement = NULL, decided_on = NULL
FROM told e
WHERE e.record_id = t.record_id AND e.province = t.province AND e.department = t.department
  AND (e.status = 'REVOKED' OR e.epoch > 0 AND e.status <> 'IN_FORCE')
  AND (e.epoch, e.version, e.digest_hi, e.digest_lo) > (t.epoch, t.version, t.digest_hi, t.digest_lo)
