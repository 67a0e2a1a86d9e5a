-- What was told of them is void: whatever is stated next, be it lower, is news again, in an epoch of its own.
UPDATE xinliu.shared_record s
SET version = 0, digest_hi = 0, digest_lo = 0
FROM asked a
WHERE s.record_id = a.record_id AND s.department = a.department AND s.state = 'WITHDRAWN' AND a.domain = ''
