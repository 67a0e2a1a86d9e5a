-- Reset of the shared rank of withdrawn records: the next statement, even one of lower rank, is shared again, in a new epoch.
UPDATE xinliu.shared_record s
SET version = 0, digest_hi = 0, digest_lo = 0
FROM asked a
WHERE s.record_id = a.record_id AND s.department = a.department AND s.state = 'WITHDRAWN' AND a.domain = ''
