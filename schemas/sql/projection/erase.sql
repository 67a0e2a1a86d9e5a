-- Erasure after a revocation, as if the record had never been: the content of every statement that a revocation outranks, late
-- arrivals included. For another province's record (epoch > 0) a repair, or the end of sharing, erases likewise: the content is not
-- ours to keep. The digests stay as evidence. Returns the erased statements, for the tombstones.
UPDATE record_history h
SET statement = NULL, decided_on = NULL
FROM (
    SELECT DISTINCT ON (r.record_id, r.province, r.department) r.*
    FROM (SELECT DISTINCT record_id, province, department FROM suspect) s
    JOIN record_history r USING (record_id, province, department)
    WHERE r.status = 'REVOKED' OR r.epoch > 0 AND r.status <> 'IN_FORCE'
    ORDER BY r.record_id, r.province, r.department, r.epoch DESC, r.version DESC, r.digest_hi DESC, r.digest_lo DESC
) r
WHERE h.record_id = r.record_id AND h.province = r.province AND h.department = r.department
  AND (h.epoch, h.version, h.digest_hi, h.digest_lo) < (r.epoch, r.version, r.digest_hi, r.digest_lo)
  AND h.statement IS NOT NULL
RETURNING h.accepted_partition, h.record_id, h.epoch, h.version, h.digest_hi, h.digest_lo
