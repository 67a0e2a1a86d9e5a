-- Quarantine entries of revoked records keep their findings and lose their content; those of another province's records also if the
-- record is repaired, or no longer shared. Each entry looks for one statement that ends it (EXISTS): joining would make thousands
-- times thousands of pairs if a record was refused and revoked thousands of times.
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
