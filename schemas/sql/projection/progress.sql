-- Idempotent upsert of progress vectors. Each part only advances: a vector that comes again, late or in another order changes nothing,
-- and one without a marker, or with an older one, does not remove a marker. A topic that was created anew begins anew.
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
    (topic_id, next_offset, as_of, marked_at) = (
        SELECT excluded.topic_id, GREATEST(excluded.next_offset, known.next_offset), GREATEST(excluded.as_of, known.as_of),
               GREATEST(excluded.marked_at, known.marked_at)
        FROM (SELECT true) one LEFT JOIN (
            SELECT held.next_offset, held.as_of, held.marked_at WHERE held.topic_id = excluded.topic_id
        ) known ON true
    )
