-- Own shared records that no longer stand, or have a lower rank than the shared one. They are entered with domain '', which is not a
-- mutual domain, so that the decision is to withdraw.
INSERT INTO asked
SELECT s.record_id, s.department, s.uscc, '', 'PENALTY', 'IN_FORCE', s.version, s.digest_hi, s.digest_lo, s.partition
FROM xinliu.shared_record s
LEFT JOIN record r ON r.record_id = s.record_id AND r.province = %(own)s AND r.department = s.department
WHERE s.record_id = ANY(%(ids)s) AND s.state = 'SHARED'
  AND (r.record_id IS NULL OR (r.version, r.digest_hi, r.digest_lo) < (s.version, s.digest_hi, s.digest_lo))
