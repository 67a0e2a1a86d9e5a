-- Own records that are shared and stand no longer, or at a lower rank than was told, asked about as what nobody should share: domain
-- '' is no mutual one.
INSERT INTO asked
SELECT s.record_id, s.department, s.uscc, '', 'PENALTY', 'IN_FORCE', s.version, s.digest_hi, s.digest_lo, s.partition
FROM xinliu.shared_record s
LEFT JOIN record r ON r.record_id = s.record_id AND r.province = %(own)s AND r.department = s.department
WHERE s.record_id = ANY(%(ids)s) AND s.state = 'SHARED'
  AND (r.record_id IS NULL OR (r.version, r.digest_hi, r.digest_lo) < (s.version, s.digest_hi, s.digest_lo))
