-- Makes shared_record agree with our records; a row without a record is withdrawn. If a record has a newer version since, the
-- sweep publishes it.
UPDATE xinliu.shared_record s
SET kind = COALESCE(r.kind, s.kind), domain = COALESCE(r.domain, s.domain), uscc = COALESCE(r.uscc, s.uscc),
    version = COALESCE(r.version, s.version), digest_hi = COALESCE(r.digest_hi, s.digest_hi), digest_lo = COALESCE(r.digest_lo, s.digest_lo),
    status = COALESCE(r.status, 'WITHDRAWN'), partition = COALESCE(xinliu.partition_of(r.uscc, %(partitions)s), s.partition),
    state = CASE WHEN r.record_id IS NULL THEN 'WITHDRAWN' ELSE s.state END
FROM unnest(%(ids)s::uuid[], %(departments)s::text[]) AS k (record_id, department)
LEFT JOIN record r ON r.record_id = k.record_id AND r.province = %(own)s AND r.department = k.department
WHERE s.record_id = k.record_id AND s.department = k.department AND s.state = 'SHARED'
  AND (r.record_id IS NULL OR (r.version, r.digest_hi, r.digest_lo) <= (s.version, s.digest_hi, s.digest_lo))
