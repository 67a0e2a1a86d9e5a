-- Outcomes of decisions about quarantine entries that differ from the topic, as in quarantine.sql.
WITH place AS (
    SELECT * FROM unnest(%(partitions)s::integer[], %(first)s::bigint[], %(read)s::bigint[]) AS p (partition, first, read)
), held AS (
    SELECT o.* FROM {schema}.quarantine_outcome o
    JOIN place p ON p.partition = o.quarantine_partition AND o.quarantine_offset < p.read
    WHERE o.quarantine_offset >= p.first
)
SELECT topic, topic_id, partition, "offset", decision, outcome,
       CASE WHEN h.kind IS NULL THEN 'MISSING' WHEN t.kind IS NULL THEN 'EXTRA' ELSE 'CHANGED' END AS difference
FROM held h FULL JOIN pg_temp.quarantine_outcome t USING (topic, topic_id, partition, "offset", decision, outcome)
WHERE (h.kind, h.decided_by, h.decided_at, h.reason, h.record_id, h.version, h.findings)
      IS DISTINCT FROM (t.kind, t.decided_by, t.decided_at, t.reason, t.record_id, t.version, t.findings)
ORDER BY 1, 2, 3, 4, 5, 6
