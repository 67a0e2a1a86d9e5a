-- What waits to leave, oldest first; what is told to other provinces has a publisher of its own.
SELECT id, kind, department, payload
FROM outbox
WHERE kind <> 'EXCHANGE'
ORDER BY id
LIMIT %(limit)s
