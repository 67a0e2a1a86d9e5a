-- The last checkpoint of a partition of another province whose run is stored whole; the caller has found it newer.
INSERT INTO applied_checkpoint (province, partition, topic_id, sequence, "offset", hash, made_at, applied_at, complete)
VALUES (
    %(province)s, %(partition)s, %(topic_id)s, %(sequence)s, %(offset)s, %(hash)s, %(made_at)s, clock_timestamp(),
    %(complete)s
)
ON CONFLICT (province, partition) DO UPDATE SET
    topic_id = excluded.topic_id, sequence = excluded.sequence, "offset" = excluded."offset", hash = excluded.hash,
    made_at = excluded.made_at, applied_at = excluded.applied_at, complete = excluded.complete
