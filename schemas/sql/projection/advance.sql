-- Compare-and-set of positions: updates fewer rows if another worker has moved one since the batch was fetched.
UPDATE position p
SET next_offset = moved.next_offset
FROM unnest(%(topics)s::text[], %(topic_ids)s::text[], %(partitions)s::int[], %(expected)s::bigint[], %(next_offsets)s::bigint[])
    AS moved (topic, topic_id, partition, expected, next_offset)
WHERE p.topic = moved.topic AND p.topic_id = moved.topic_id AND p.partition = moved.partition
  AND p.next_offset = moved.expected
