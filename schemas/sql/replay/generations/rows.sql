-- Carries over the differences that the table audit found and repaired. Open ones are about the other generation's tables.
INSERT INTO row_difference (
    relation, record_id, uscc, province, department, domain, partition, difference, fields, found_at, mended_at, how
)
SELECT o.relation, o.record_id, o.uscc, o.province, o.department, o.domain, o.partition, o.difference, o.fields, o.found_at,
       o.mended_at, o.how
FROM {old}.row_difference o
WHERE o.mended_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM row_difference n
    WHERE (n.relation, n.found_at) = (o.relation, o.found_at)
      AND (n.record_id, n.uscc, n.province, n.department, n.domain, n.partition)
          IS NOT DISTINCT FROM (o.record_id, o.uscc, o.province, o.department, o.domain, o.partition)
)
ORDER BY o.id
