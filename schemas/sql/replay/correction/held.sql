-- Stored rows of some records, every column.
SELECT record_id, province, department, to_jsonb(r) AS row, epoch, version, digest_hi, digest_lo, domain, uscc, status
FROM record r WHERE record_id = ANY(%(ids)s)
