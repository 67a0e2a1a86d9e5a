-- Entries whose state may have to change, with all their outcomes.
WITH due AS (
    SELECT topic, topic_id, partition, "offset" FROM quarantine_entry WHERE state = 'OPEN' AND (held OR discarded)
    UNION
    SELECT e.topic, e.topic_id, e.partition, e."offset"
    FROM quarantine_outcome o JOIN quarantine_entry e USING (topic, topic_id, partition, "offset")
    WHERE NOT o.settled AND (o.outcome <> 'ACCEPTED' OR e.held)
    LIMIT %(limit)s
)
SELECT q.topic, q.topic_id, q.partition, q."offset", q.department, q.record_id, q.version, q.state,
       (
           SELECT e.held FROM quarantine_entry e
           WHERE (e.topic, e.topic_id, e.partition, e."offset") = (q.topic, q.topic_id, q.partition, q."offset")
       ) AS held,
       (
           SELECT COALESCE(jsonb_agg(
               jsonb_build_object(
                   'decision', o.decision, 'kind', o.kind, 'outcome', o.outcome, 'reason', o.reason,
                   'findings', o.findings, 'settled', o.settled
               ) ORDER BY o.quarantine_partition, o.quarantine_offset
           ), '[]')
           FROM quarantine_outcome o
           WHERE (o.topic, o.topic_id, o.partition, o."offset") = (q.topic, q.topic_id, q.partition, q."offset")
       ) AS outcomes
FROM due JOIN quarantine q USING (topic, topic_id, partition, "offset")
ORDER BY q.topic, q.topic_id, q.partition, q."offset"
