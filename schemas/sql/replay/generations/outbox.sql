-- What waits to be told moves along, in its order.
WITH waiting AS (
    DELETE FROM {old}.outbox RETURNING id, kind, department, payload, created_at
)
INSERT INTO outbox (kind, department, payload, created_at)
SELECT kind, department, payload, created_at FROM waiting ORDER BY id
