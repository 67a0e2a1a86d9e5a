-- Shared records that this generation lacks, or has only with an earlier statement, because the current rules refuse them.
CREATE TEMPORARY TABLE gone AS
SELECT s.record_id, s.department
FROM xinliu.shared_record s
LEFT JOIN record r ON (r.record_id, r.province, r.department) = (s.record_id, %(own)s, s.department)
WHERE s.state = 'SHARED'
  AND (r.record_id IS NULL OR (r.version, r.digest_hi, r.digest_lo) < (s.version, s.digest_hi, s.digest_lo))
