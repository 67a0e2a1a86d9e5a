-- The topic quarantine, projected; an entry that intake wrote twice is one entry.
INSERT INTO quarantine (
    topic, topic_id, partition, "offset", department, received_at, uscc, domain, record_id, version, findings, value,
    quarantine_partition, quarantine_offset
)
VALUES (
    %(topic)s, %(topic_id)s, %(partition)s, %(offset)s, %(department)s, %(received_at)s, %(uscc)s, %(domain)s,
    %(record_id)s, %(version)s, %(findings)s, %(value)s, %(quarantine_partition)s, %(quarantine_offset)s
)
ON CONFLICT DO NOTHING
RETURNING 1
