SELECT case_id, event_id, kind, province, said_by AS by, at, procedure, uscc, replace(record_id::text, '-', '') AS record_id,
       record_province, department, reason, outcome, version, digest, answer, step, due, working_days
FROM xinliu.case_event
WHERE case_id = ANY(%(cases)s)
