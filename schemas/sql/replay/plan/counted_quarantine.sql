-- Count of the open quarantine entries in a scope, with the first offset of their values in each partition of the topic quarantine.
WITH fits AS MATERIALIZED (
    SELECT q.record_id, q.uscc, q.quarantine_partition, q.quarantine_offset
    FROM quarantine q
    WHERE q.state = 'OPEN' AND starts_with(q.topic, 'records.')
      AND (%(domains)s::text[] IS NULL OR q.domain = ANY(%(domains)s))
      AND (%(departments)s::text[] IS NULL OR q.department = ANY(%(departments)s))
      AND (%(entities)s::text[] IS NULL OR q.uscc = ANY(%(entities)s))
      AND (%(since)s::timestamptz IS NULL OR q.received_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR q.received_at < %(until)s)
      AND (%(codes)s::text[] IS NULL OR EXISTS (
          SELECT FROM jsonb_array_elements(q.findings) f WHERE f->>'code' = ANY(%(codes)s)
      ))
)
SELECT (SELECT count(*) FROM fits) AS events,
       (SELECT count(DISTINCT record_id) FROM fits) AS records,
       (SELECT count(DISTINCT uscc) FROM fits WHERE uscc IS NOT NULL) AS entities,
       ARRAY(SELECT DISTINCT uscc FROM fits WHERE uscc IS NOT NULL ORDER BY uscc LIMIT %(first)s) AS first_entities,
       (SELECT COALESCE(jsonb_object_agg(quarantine_partition, first), '{}')
        FROM (SELECT quarantine_partition, min(quarantine_offset) AS first FROM fits GROUP BY 1) f) AS places
