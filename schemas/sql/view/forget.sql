-- What was refused of records that are revoked keeps its findings, and loses its content; of another province's records also
-- where they are repaired, or shared no longer.
UPDATE quarantine q
SET value = NULL
FROM record_history r
WHERE r.record_id = ANY(%s) AND (r.status = 'REVOKED' OR r.epoch > 0 AND r.status <> 'IN_FORCE')
  AND q.record_id = replace(r.record_id::text, '-', '') AND q.version < r.version
  AND CASE WHEN starts_with(q.topic, 'records.')
      THEN q.department = r.department AND r.province = COALESCE((SELECT i.province FROM xinliu.installation i), r.province)
      ELSE q.topic = 'exchange.' || r.province END
  AND q.value IS NOT NULL
