-- Outcome of a decision about a quarantine entry: one row, even if several intake workers publish it, or one again after a crash.
INSERT INTO quarantine_outcome (
    topic, topic_id, partition, "offset", decision, outcome, kind, decided_by, decided_at, reason, record_id, version,
    findings, recorded_at, quarantine_partition, quarantine_offset
)
VALUES (
    %(topic)s, %(topic_id)s, %(partition)s, %(offset)s, %(decision)s, %(outcome)s, %(kind)s, %(decided_by)s,
    %(decided_at)s, %(reason)s, %(record_id)s, %(version)s, %(findings)s, %(recorded_at)s, %(quarantine_partition)s,
    %(quarantine_offset)s
)
ON CONFLICT DO NOTHING
