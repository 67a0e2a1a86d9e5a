-- Makes entries of the quarantine agree with the topic: missing ones are inserted, extra ones deleted, others corrected.
WITH wrong AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS w (topic text, topic_id text, partition integer, "offset" bigint, difference text)
), gone AS (
    DELETE FROM {schema}.quarantine q USING wrong w
    WHERE (q.topic, q.topic_id, q.partition, q."offset") = (w.topic, w.topic_id, w.partition, w."offset") AND w.difference = 'EXTRA'
), set_right AS (
    UPDATE {schema}.quarantine q
    SET department = t.department, received_at = t.received_at, uscc = t.uscc, domain = t.domain, record_id = t.record_id,
        version = t.version, findings = t.findings, held_from = t.held_from, state = 'OPEN'
    FROM pg_temp.quarantine t JOIN wrong w USING (topic, topic_id, partition, "offset")
    WHERE (q.topic, q.topic_id, q.partition, q."offset") = (t.topic, t.topic_id, t.partition, t."offset") AND w.difference = 'CHANGED'
)
INSERT INTO {schema}.quarantine
SELECT t.* FROM pg_temp.quarantine t JOIN wrong w USING (topic, topic_id, partition, "offset") WHERE w.difference = 'MISSING'
