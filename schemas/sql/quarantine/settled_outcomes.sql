-- Marks the outcomes that states and receipts now cover.
UPDATE quarantine_outcome o SET settled = true
FROM jsonb_to_recordset(%(rows)s) AS s (
    topic text, topic_id text, partition integer, "offset" bigint, decision text, outcome text
)
WHERE (o.topic, o.topic_id, o.partition, o."offset", o.decision, o.outcome)
    = (s.topic, s.topic_id, s.partition, s."offset", s.decision, s.outcome)
