-- Quarantine entries by a person's filter; a parameter that is NULL is no condition. `findings` are those of the last
-- examination.
SELECT entry.*
FROM (
    SELECT q.topic, q.topic_id, q.partition, q."offset", q.department, q.received_at, q.uscc, q.domain, q.record_id,
           q.version, q.quarantine_partition, q.quarantine_offset,
           COALESCE(l.findings, q.findings) AS findings,
           CASE WHEN q.state <> 'OPEN' THEN q.state WHEN e.discarded THEN 'DISCARDED' WHEN e.held THEN 'SUPERSEDED'
                ELSE 'OPEN' END AS state,
           -- A value that intake has masked (streams/forwarding/masking.py) is no longer the department's own.
           position('\x2a2a2a2a2a2a2a2a2a2a2a'::bytea IN q.value) > 0 AS masked
    FROM quarantine q
    JOIN quarantine_entry e USING (topic, topic_id, partition, "offset")
    LEFT JOIN LATERAL (
        SELECT o.findings FROM quarantine_outcome o
        WHERE (o.topic, o.topic_id, o.partition, o."offset") = (q.topic, q.topic_id, q.partition, q."offset")
          AND o.outcome = 'REFUSED'
        ORDER BY o.quarantine_partition DESC, o.quarantine_offset DESC LIMIT 1
    ) l ON true
    WHERE (%(department)s::text IS NULL OR q.department = %(department)s)
      AND (%(state)s::text IS DISTINCT FROM 'OPEN' OR q.state = 'OPEN')
      AND (%(domain)s::text IS NULL OR q.domain = %(domain)s)
      AND (%(uscc)s::text IS NULL OR q.uscc = %(uscc)s)
      AND (%(since)s::timestamptz IS NULL OR q.received_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR q.received_at < %(until)s)
      AND (%(departments)s::text[] IS NULL OR q.department = ANY(%(departments)s))
      AND (%(domains)s::text[] IS NULL OR q.domain = ANY(%(domains)s))
      AND (%(entities)s::text[] IS NULL OR q.uscc = ANY(%(entities)s))
      AND (%(partition)s::integer IS NULL OR (q.partition, q."offset") = (%(partition)s, %(offset)s::bigint))
) entry
WHERE (%(state)s::text IS NULL OR entry.state = %(state)s)
  AND (%(code)s::text IS NULL OR entry.findings @> jsonb_build_array(jsonb_build_object('code', %(code)s::text)))
  AND (%(codes)s::text[] IS NULL OR EXISTS (
      SELECT FROM jsonb_array_elements(entry.findings) AS found WHERE found ->> 'code' = ANY(%(codes)s)))
