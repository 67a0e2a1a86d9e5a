-- What has been shared and stands in this generation no more, or only at an earlier statement: today's rules refuse it.
CREATE TEMPORARY TABLE gone AS
SELECT s.record_id, s.department
FROM xinliu.shared_record s
LEFT JOIN record r ON (r.record_id, r.province, r.department) = (s.record_id, %(own)s, s.department)
WHERE s.state = 'SHARED'
  AND (r.record_id IS NULL OR (r.version, r.digest_hi, r.digest_lo) < (s.version, s.digest_hi, s.digest_lo))
