-- Carries over quarantine entries, their outcomes and the progress vectors of the topic's partitions, if the topic no longer has them.
WITH entries AS (
    INSERT INTO quarantine (
        topic, topic_id, partition, "offset", department, received_at, uscc, domain, record_id, version, findings, value, state,
        quarantine_partition, quarantine_offset, held_from
    )
    SELECT q.topic, q.topic_id, q.partition, q."offset", q.department, q.received_at, q.uscc, q.domain, q.record_id, q.version,
           q.findings, q.value, q.state, q.quarantine_partition, q.quarantine_offset, q.held_from
    FROM {serving}.quarantine q JOIN rebuild_log l ON l.topic = 'quarantine' AND l.partition = q.quarantine_partition
    -- Statements that the store refused are in accepted, and are found there again.
    WHERE q.quarantine_offset < l.first_offset AND NOT (q.findings @> '[{{"code": "STORE_REFUSED"}}]')
    ON CONFLICT DO NOTHING
), outcomes AS (
    INSERT INTO quarantine_outcome (
        topic, topic_id, partition, "offset", decision, outcome, kind, decided_by, decided_at, reason, record_id, version,
        findings, recorded_at, quarantine_partition, quarantine_offset, settled
    )
    SELECT o.topic, o.topic_id, o.partition, o."offset", o.decision, o.outcome, o.kind, o.decided_by, o.decided_at, o.reason,
           o.record_id, o.version, o.findings, o.recorded_at, o.quarantine_partition, o.quarantine_offset, o.settled
    FROM {serving}.quarantine_outcome o JOIN rebuild_log l ON l.topic = 'quarantine' AND l.partition = o.quarantine_partition
    WHERE o.quarantine_offset < l.first_offset
    ON CONFLICT DO NOTHING
)
INSERT INTO input_progress (topic, topic_id, partition, reporter_topic, reporter_partition, next_offset, as_of, marked_at)
SELECT p.topic, p.topic_id, p.partition, p.reporter_topic, p.reporter_partition, p.next_offset, p.as_of, p.marked_at
FROM {serving}.input_progress p JOIN rebuild_log l ON l.topic = p.reporter_topic AND l.partition = p.reporter_partition
WHERE l.first_offset > 0
ON CONFLICT DO NOTHING
