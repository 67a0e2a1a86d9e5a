-- All statements of a record, newest first.
SELECT DISTINCT h.version, h.digest_hi, h.digest_lo, h.status, h.reason, COALESCE(h.disputed, false) AS disputed
FROM record_history h
WHERE (h.record_id, h.province, h.department) = (%(record_id)s, %(province)s, %(department)s)
ORDER BY h.version DESC, h.digest_hi DESC, h.digest_lo DESC
