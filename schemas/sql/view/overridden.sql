-- Those of the given messages that a person has let through against the rules.
SELECT DISTINCT o.topic, o.topic_id, o.partition, o."offset"
FROM quarantine_outcome o
JOIN unnest(%s::text[], %s::text[], %s::int[], %s::bigint[]) AS asked (topic, topic_id, partition, "offset")
    USING (topic, topic_id, partition, "offset")
WHERE o.kind = %s AND o.outcome = %s
