-- Those of the given contents that a record in force states already: one index look-up each, however many records state it.
-- LIMIT ensures that: without it, the planner compares each key with all records while it has no statistics of the table.
SELECT key
FROM unnest(%s::bigint[]) AS told (key)
CROSS JOIN LATERAL (SELECT FROM record WHERE content_key = key AND status = 'IN_FORCE' AND epoch = 0 LIMIT 1) AS stated
