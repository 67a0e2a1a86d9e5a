-- What was refused of records that are revoked keeps its findings, and loses its content; of another province's records also
-- where they are repaired, or shared no longer. Each entry looks for one statement that ends it: a record that was refused and
-- revoked thousands of times is not asked for each pair.
UPDATE quarantine q
SET value = NULL
WHERE q.record_id IN (SELECT replace(ended::text, '-', '') FROM unnest(%s::uuid[]) AS ended)
  AND q.value IS NOT NULL
  AND EXISTS (
      SELECT FROM record_history r
      WHERE r.record_id = CASE WHEN q.record_id ~ '^[0-9a-f]{32}$' THEN q.record_id::uuid END
        AND (r.status = 'REVOKED' OR r.epoch > 0 AND r.status <> 'IN_FORCE') AND r.version > q.version
        AND CASE WHEN starts_with(q.topic, 'records.')
            THEN q.department = r.department
                 AND r.province = COALESCE((SELECT i.province FROM xinliu.installation i), r.province)
            ELSE q.topic = 'exchange.' || r.province END
  )
