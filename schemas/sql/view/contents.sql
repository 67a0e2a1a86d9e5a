-- Which of these contents a record in force states already: one look into the index for each, however many records state it.
SELECT key
FROM unnest(%s::bigint[]) AS told (key)
WHERE EXISTS (SELECT FROM record WHERE content_key = key AND status = 'IN_FORCE' AND epoch = 0)
