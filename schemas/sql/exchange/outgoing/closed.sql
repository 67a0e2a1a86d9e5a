-- Our own last checkpoints, for readers: the topic itself is authoritative.
INSERT INTO xinliu.published_checkpoint AS held (partition, topic_id, sequence, "offset", hash, made_at, incomplete)
SELECT partition, topic_id, sequence, "offset", hash, made_at, CASE WHEN NOT complete THEN sequence END
FROM jsonb_to_recordset(%(rows)s) AS c (
    partition smallint, topic_id text, sequence bigint, "offset" bigint, hash text, made_at timestamptz,
    complete boolean
)
ORDER BY partition
ON CONFLICT (partition) DO UPDATE SET
    topic_id = excluded.topic_id, sequence = excluded.sequence, "offset" = excluded."offset", hash = excluded.hash,
    made_at = excluded.made_at,
    incomplete = COALESCE(excluded.incomplete, CASE WHEN held.topic_id = excluded.topic_id THEN held.incomplete END)
