-- Makes outcomes of decisions agree with the topic. An inserted or corrected outcome is reported once more.
WITH wrong AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS w (
        topic text, topic_id text, partition integer, "offset" bigint, decision text, outcome text, difference text
    )
), gone AS (
    DELETE FROM {schema}.quarantine_outcome o USING wrong w
    WHERE (o.topic, o.topic_id, o.partition, o."offset", o.decision, o.outcome)
        = (w.topic, w.topic_id, w.partition, w."offset", w.decision, w.outcome) AND w.difference = 'EXTRA'
), set_right AS (
    UPDATE {schema}.quarantine_outcome o
    SET kind = t.kind, decided_by = t.decided_by, decided_at = t.decided_at, reason = t.reason, record_id = t.record_id,
        version = t.version, findings = t.findings, settled = false
    FROM pg_temp.quarantine_outcome t JOIN wrong w USING (topic, topic_id, partition, "offset", decision, outcome)
    WHERE (o.topic, o.topic_id, o.partition, o."offset", o.decision, o.outcome)
        = (t.topic, t.topic_id, t.partition, t."offset", t.decision, t.outcome) AND w.difference = 'CHANGED'
)
INSERT INTO {schema}.quarantine_outcome
SELECT t.*
FROM pg_temp.quarantine_outcome t JOIN wrong w USING (topic, topic_id, partition, "offset", decision, outcome)
WHERE w.difference = 'MISSING'
