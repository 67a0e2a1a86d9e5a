-- Our own events that have not been published, of cases that concern another province: by who leads it or whose the
-- record is, or a record of ours that was shared. A case that becomes so later is found by itself.
SELECT e.case_id, e.event_id, e.content, e.uscc, e.body, e.fingerprint
FROM xinliu.case_event e
WHERE e.shared_at IS NULL AND e.body IS NOT NULL
  AND (e.record_province <> e.province
       OR left(e.case_id, -18) <> e.province  -- what a case id begins with leads it
       OR EXISTS (SELECT FROM xinliu.shared_record s WHERE (s.record_id, s.department) = (e.record_id, e.department)))
ORDER BY e.recorded_at, e.case_id, e.event_id, e.content
LIMIT %(limit)s
