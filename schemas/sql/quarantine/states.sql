-- Sets the new states of entries.
UPDATE quarantine q SET state = s.state
FROM jsonb_to_recordset(%(rows)s) AS s (topic text, topic_id text, partition integer, "offset" bigint, state text)
WHERE (q.topic, q.topic_id, q.partition, q."offset") = (s.topic, s.topic_id, s.partition, s."offset")
