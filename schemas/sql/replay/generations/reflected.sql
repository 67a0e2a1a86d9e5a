-- Up to which of our checkpoints what the others share follows from what we told them.
INSERT INTO reflected_checkpoint AS held (province, partition, made_at, next_made_at, next_applied_at)
SELECT province, partition, made_at, next_made_at, next_applied_at FROM {old}.reflected_checkpoint
ON CONFLICT (province, partition) DO UPDATE SET
    made_at = excluded.made_at, next_made_at = excluded.next_made_at, next_applied_at = excluded.next_applied_at
