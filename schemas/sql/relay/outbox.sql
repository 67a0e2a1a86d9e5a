-- Rows of the outbox, oldest first; rows for other provinces have a publisher of their own.
SELECT id, kind, department, payload
FROM outbox
WHERE kind <> 'EXCHANGE'
ORDER BY id
LIMIT %(limit)s
