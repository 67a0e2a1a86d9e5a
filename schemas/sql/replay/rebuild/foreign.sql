-- Upsert of another province's newest checkpoint. A run that was forwarded again repeats its checkpoint: the last copy counts.
INSERT INTO rebuild_foreign AS held (province, partition, made_at, checkpoint_offset, statement_offset)
VALUES (%(province)s, %(partition)s, %(made_at)s, %(checkpoint)s, %(statement)s)
ON CONFLICT (province, partition) DO UPDATE SET
    made_at = GREATEST(held.made_at, excluded.made_at),
    checkpoint_offset = CASE
        WHEN excluded.made_at >= COALESCE(held.made_at, '-infinity') THEN excluded.checkpoint_offset ELSE held.checkpoint_offset
    END,
    statement_offset = GREATEST(held.statement_offset, excluded.statement_offset)
