-- Projection of the topic quarantine, idempotent: an entry that intake wrote twice is one entry. The entry of a record that was
-- revoked meanwhile comes without its content.
INSERT INTO quarantine (
    topic, topic_id, partition, "offset", department, received_at, uscc, domain, record_id, version, findings, value,
    quarantine_partition, quarantine_offset, held_from
)
VALUES (
    %(topic)s, %(topic_id)s, %(partition)s, %(offset)s, %(department)s, %(received_at)s, %(uscc)s, %(domain)s,
    %(record_id)s, %(version)s, %(findings)s,
    CASE WHEN NOT EXISTS (
        SELECT FROM record_history r
        WHERE r.record_id = CASE WHEN %(record_id)s::text ~ '^[0-9a-f]{32}$' THEN %(record_id)s::text::uuid END
          AND (r.status = 'REVOKED' OR r.epoch > 0 AND r.status <> 'IN_FORCE') AND r.version > %(version)s
          AND CASE WHEN starts_with(%(topic)s, 'records.')
              THEN r.department = %(department)s
                   AND r.province = COALESCE((SELECT i.province FROM xinliu.installation i), r.province)
              ELSE %(topic)s = 'exchange.' || r.province END
    ) THEN %(value)s::bytea END,
    %(quarantine_partition)s, %(quarantine_offset)s, %(held_from)s
)
ON CONFLICT DO NOTHING
RETURNING 1
