SELECT DISTINCT e.case_id
FROM xinliu.case_event e LEFT JOIN xinliu.case_state s USING (case_id)
WHERE s.ended_at IS NULL
ORDER BY e.case_id
