-- Moves unpublished outbox rows, in order.
WITH waiting AS (
    DELETE FROM {old}.outbox RETURNING id, kind, department, payload, created_at
)
INSERT INTO outbox (kind, department, payload, created_at)
SELECT kind, department, payload, created_at FROM waiting ORDER BY id
