-- Carries over outcomes of decisions, and whether the department was notified.
INSERT INTO quarantine_outcome AS held (
    topic, topic_id, partition, "offset", decision, outcome, kind, decided_by, decided_at, reason, record_id, version, findings,
    recorded_at, quarantine_partition, quarantine_offset, settled
)
SELECT topic, topic_id, partition, "offset", decision, outcome, kind, decided_by, decided_at, reason, record_id, version, findings,
       recorded_at, quarantine_partition, quarantine_offset, settled
FROM {old}.quarantine_outcome
ON CONFLICT (topic, topic_id, partition, "offset", decision, outcome) DO UPDATE SET settled = excluded.settled
WHERE held.settled <> excluded.settled
