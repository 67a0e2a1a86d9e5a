-- What waits to leave, oldest first.
SELECT id, kind, department, payload
FROM outbox
ORDER BY id
LIMIT %(limit)s
