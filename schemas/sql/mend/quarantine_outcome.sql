-- What became of decisions about entries, as the topic has it. What settled them is not known any more: it is told once more.
WITH wrong AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS w (
        topic text, topic_id text, partition integer, "offset" bigint, decision text, outcome text, difference text
    )
), gone AS (
    DELETE FROM {schema}.quarantine_outcome o USING wrong w
    WHERE (o.topic, o.topic_id, o.partition, o."offset", o.decision, o.outcome)
        = (w.topic, w.topic_id, w.partition, w."offset", w.decision, w.outcome)
)
INSERT INTO {schema}.quarantine_outcome
SELECT t.*
FROM pg_temp.quarantine_outcome t JOIN wrong w USING (topic, topic_id, partition, "offset", decision, outcome)
WHERE w.difference <> 'EXTRA'
ON CONFLICT DO NOTHING
