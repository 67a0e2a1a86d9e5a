-- Versions of a record that a person has let through against the rules.
SELECT DISTINCT q.department, o.version
FROM {schema}.quarantine_outcome o JOIN {schema}.quarantine q USING (topic, topic_id, partition, "offset")
WHERE o.record_id = %(record)s AND o.outcome = 'ACCEPTED' AND o.kind = 'QUARANTINE_OVERRIDE'
