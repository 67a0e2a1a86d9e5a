-- Own records by their keys, locked in the order of their keys.
SELECT uuid_send(record_id) AS record_id, department, uscc, domain, kind, status, version, digest_hi, digest_lo
FROM record
WHERE (record_id, department) IN (SELECT * FROM unnest(%(record_ids)s::uuid[], %(departments)s::text[]))
  AND province = %(province)s
ORDER BY record_id, department
FOR NO KEY UPDATE
