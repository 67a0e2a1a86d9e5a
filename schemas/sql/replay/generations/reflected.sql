-- Carries over, for each other province, the last of our own checkpoints that its shared records reflect.
INSERT INTO reflected_checkpoint AS held (province, partition, made_at, next_made_at, next_applied_at)
SELECT province, partition, made_at, next_made_at, next_applied_at FROM {old}.reflected_checkpoint
ON CONFLICT (province, partition) DO UPDATE SET
    made_at = excluded.made_at, next_made_at = excluded.next_made_at, next_applied_at = excluded.next_applied_at
