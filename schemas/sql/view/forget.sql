-- What was refused of records that are revoked keeps its findings, and loses its content.
UPDATE quarantine q
SET value = NULL
FROM record_history r
WHERE r.record_id = ANY(%s) AND r.status = 'REVOKED'
  AND q.record_id = replace(r.record_id::text, '-', '') AND q.department = r.department AND q.version < r.version
  AND q.value IS NOT NULL
