-- Vectors only ever advance; a marker once read is not forgotten by a vector that brings none.
INSERT INTO input_progress AS held (
    topic, topic_id, partition, reporter_topic, reporter_partition, next_offset, as_of, marked_at
)
SELECT topic, topic_id, partition, reporter_topic, reporter_partition, next_offset, as_of, marked_at
FROM jsonb_to_recordset(%(rows)s) AS news (
    topic text, topic_id text, partition integer, reporter_topic text, reporter_partition integer,
    next_offset bigint, as_of timestamptz, marked_at timestamptz
)
ORDER BY topic, partition, reporter_topic, reporter_partition
ON CONFLICT (topic, partition, reporter_topic, reporter_partition) DO UPDATE SET
    topic_id = excluded.topic_id,
    next_offset = excluded.next_offset,
    as_of = CASE WHEN held.topic_id = excluded.topic_id THEN COALESCE(excluded.as_of, held.as_of) ELSE excluded.as_of END,
    marked_at = CASE
        WHEN held.topic_id = excluded.topic_id THEN COALESCE(excluded.marked_at, held.marked_at) ELSE excluded.marked_at
    END
WHERE held.topic_id <> excluded.topic_id OR excluded.next_offset >= held.next_offset
