-- Rows of the quarantine that differ from its topic: pg_temp has the projection of the messages from `first` to before `read`. A
-- state that no known outcome or record explains is CHANGED, too. Rows that came another way (refused by a rule of today, or by
-- PostgreSQL) have another place, and no message in the topic.
WITH place AS (
    SELECT * FROM unnest(%(partitions)s::integer[], %(first)s::bigint[], %(read)s::bigint[]) AS p (partition, first, read)
), held AS (
    SELECT q.* FROM {schema}.quarantine q
    JOIN place p ON p.partition = q.quarantine_partition AND q.quarantine_offset >= p.first AND q.quarantine_offset < p.read
    WHERE NOT EXISTS (
        SELECT FROM jsonb_array_elements(q.findings) f WHERE f->>'code' IN ('STORE_REFUSED', 'REPLAY_REFUSED')
    )
)
SELECT topic, topic_id, partition, "offset",
       CASE WHEN h.department IS NULL THEN 'MISSING' WHEN t.department IS NULL THEN 'EXTRA' ELSE 'CHANGED' END AS difference,
       COALESCE(t.department, h.department) AS department, COALESCE(t.uscc, h.uscc) AS uscc, COALESCE(t.domain, h.domain) AS domain,
       t.record_id
FROM held h FULL JOIN pg_temp.quarantine t USING (topic, topic_id, partition, "offset")
WHERE (h.department IS NOT NULL OR NOT EXISTS (
          -- Entered anew, by today's rules or because PostgreSQL could not store it.
          SELECT FROM {schema}.quarantine q
          WHERE (q.topic, q.topic_id, q.partition, q."offset") = (t.topic, t.topic_id, t.partition, t."offset")
            AND EXISTS (SELECT FROM jsonb_array_elements(q.findings) f WHERE f->>'code' IN ('STORE_REFUSED', 'REPLAY_REFUSED'))
      ))
  AND (
      (h.department, h.received_at, h.uscc, h.domain, h.record_id, h.version, h.findings, h.held_from)
          IS DISTINCT FROM (t.department, t.received_at, t.uscc, t.domain, t.record_id, t.version, t.findings, t.held_from)
      OR h.state <> 'OPEN' AND NOT EXISTS (
          SELECT FROM pg_temp.quarantine_outcome o
          WHERE (o.topic, o.topic_id, o.partition, o."offset") = (h.topic, h.topic_id, h.partition, h."offset")
            AND o.outcome IN ('ACCEPTED', 'DISCARDED')
      ) AND NOT EXISTS (
          SELECT FROM {schema}.quarantine_entry e
          WHERE (e.topic, e.topic_id, e.partition, e."offset") = (h.topic, h.topic_id, h.partition, h."offset")
            AND (e.held OR e.discarded)
      )
  )
ORDER BY 1, 2, 3, 4
