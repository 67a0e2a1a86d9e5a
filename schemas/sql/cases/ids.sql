SELECT case_id
FROM xinliu.case_state
WHERE %(ended)s OR ended_at IS NULL
ORDER BY opened_at DESC, case_id DESC
LIMIT %(limit)s
