-- The next own records in the order of their keys, from one on, into `asked`, without locks; partition stays NULL.
INSERT INTO asked (record_id, department, uscc, domain, kind, status, version, digest_hi, digest_lo)
SELECT record_id, department, uscc, domain, kind, status, version, digest_hi, digest_lo
FROM record
WHERE province = %(province)s AND record_id >= %(after)s
ORDER BY record_id
LIMIT %(limit)s
RETURNING record_id
