-- Own records of entities whose registration changed, locked in the order of their keys: another transaction that
-- decides about one of them has decided before, and is seen, or decides after.
SELECT uuid_send(record_id) AS record_id, department, uscc, domain, kind, status, version, digest_hi, digest_lo
FROM record
WHERE uscc = ANY(%(uscc)s) AND province = %(province)s AND kind <> 'REGISTRATION'
ORDER BY record_id, department
FOR NO KEY UPDATE
