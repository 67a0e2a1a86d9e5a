-- Which of these contents a record in force states already: one look into the index for each, however many records state it. LIMIT keeps
-- it that: without it the planner, where it knows nothing of the table yet, holds each key against all records.
SELECT key
FROM unnest(%s::bigint[]) AS told (key)
CROSS JOIN LATERAL (SELECT FROM record WHERE content_key = key AND status = 'IN_FORCE' AND epoch = 0 LIMIT 1) AS stated
