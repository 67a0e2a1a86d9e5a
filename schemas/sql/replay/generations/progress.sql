-- Carries over progress vectors that are no longer in the logs: both generations have folded the same messages, so they are valid.
INSERT INTO input_progress AS held (
    topic, topic_id, partition, reporter_topic, reporter_partition, next_offset, as_of, marked_at
)
SELECT topic, topic_id, partition, reporter_topic, reporter_partition, next_offset, as_of, marked_at
FROM {old}.input_progress
ON CONFLICT (topic, partition, reporter_topic, reporter_partition) DO UPDATE SET
    topic_id = excluded.topic_id, next_offset = excluded.next_offset, as_of = excluded.as_of, marked_at = excluded.marked_at
