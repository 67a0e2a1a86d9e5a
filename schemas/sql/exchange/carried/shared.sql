UPDATE xinliu.case_event e
SET shared_at = clock_timestamp()
FROM unnest(%(cases)s::text[], %(events)s::text[], %(contents)s::text[]) AS told (case_id, event_id, content)
WHERE (e.case_id, e.event_id, e.content) = (told.case_id, told.event_id, told.content)
  AND e.body IS NOT NULL AND e.shared_at IS NULL
