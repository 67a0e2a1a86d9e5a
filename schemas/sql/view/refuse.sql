-- Withheld statements enter the quarantine, so that no report says 无; a closed entry opens again. The value is the message of
-- `accepted` at the given partition and offset.
INSERT INTO quarantine (
    topic, topic_id, partition, "offset", department, received_at, uscc, domain, record_id, version, findings, value,
    quarantine_partition, quarantine_offset
)
SELECT topic, topic_id, partition, "offset", department, received_at, uscc, domain, record_id, version, findings, NULL,
       accepted_partition, accepted_offset
FROM jsonb_to_recordset(%(rows)s) AS q (
    topic text, topic_id text, partition integer, "offset" bigint, department text, received_at timestamptz, uscc text, domain text,
    record_id text, version bigint, findings jsonb, accepted_partition integer, accepted_offset bigint
)
ORDER BY topic, topic_id, partition, "offset"
ON CONFLICT (topic, topic_id, partition, "offset") DO UPDATE SET state = 'OPEN', findings = excluded.findings
WHERE quarantine.state <> 'OPEN'
RETURNING department, partition, "offset", record_id, version, findings
