-- Outcomes of decisions about an entry, oldest first.
SELECT kind, outcome, decided_by, decided_at, reason, findings, recorded_at, decision
FROM quarantine_outcome
WHERE topic = %(topic)s AND topic_id = %(topic_id)s AND partition = %(partition)s AND "offset" = %(offset)s
ORDER BY quarantine_partition, quarantine_offset
