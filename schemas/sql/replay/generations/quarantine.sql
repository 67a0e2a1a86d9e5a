-- Carries over quarantine entries: the states of refused messages do not follow from the log alone, and entries may be older than
-- the log's beginning. Entries for accepted statements that the current rules refuse are a generation's own
-- (streams/view/current_rules.py).
INSERT INTO quarantine AS held (
    topic, topic_id, partition, "offset", department, received_at, uscc, domain, record_id, version, findings, value, state,
    quarantine_partition, quarantine_offset, held_from
)
SELECT topic, topic_id, partition, "offset", department, received_at, uscc, domain, record_id, version, findings, value, state,
       quarantine_partition, quarantine_offset, held_from
FROM {old}.quarantine
WHERE NOT findings @> jsonb_build_array(jsonb_build_object('code', 'REPLAY_REFUSED'))
ON CONFLICT (topic, topic_id, partition, "offset") DO UPDATE SET state = excluded.state
WHERE held.state <> excluded.state AND NOT held.findings @> jsonb_build_array(jsonb_build_object('code', 'REPLAY_REFUSED'))
