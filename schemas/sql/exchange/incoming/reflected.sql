-- How far these partitions of another province reflect our statements: it had applied one of our checkpoints (by its
-- status), and half a minute later, by its own clock, has made the checkpoint that is stored here. The half minute
-- covers a snapshot that it took before, and closed after. Then the next one is taken up, so that this never stands
-- still.
INSERT INTO reflected_checkpoint AS held (province, partition, next_made_at, next_applied_at)
SELECT s.province, s.partition, s.made_at, s.applied_at
FROM xinliu.peer_status s
JOIN unnest(%(provinces)s::text[], %(partitions)s::smallint[]) AS a (province, partition) USING (province, partition)
JOIN xinliu.published_checkpoint c ON c.partition = s.partition AND c.topic_id = s.topic_id
    -- Behind any that left something waiting: what had been decided half a minute before it was told by then.
    AND s.sequence > COALESCE(c.incomplete, -1)
WHERE s.origin = (SELECT i.province FROM xinliu.installation i)
ORDER BY s.province, s.partition
ON CONFLICT (province, partition) DO UPDATE SET
    made_at = held.next_made_at, next_made_at = excluded.next_made_at, next_applied_at = excluded.next_applied_at
WHERE held.next_applied_at + interval '30 seconds' < (
    SELECT max(f.made_at) FROM foreign_domain f WHERE (f.province, f.partition) = (held.province, held.partition)
)
