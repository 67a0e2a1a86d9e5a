-- Second step: inserts the rows that follow from history.
INSERT INTO record
SELECT e.*
FROM expected e
JOIN unnest(%(ids)s::uuid[], %(provinces)s::text[], %(departments)s::text[]) AS k (record_id, province, department)
    USING (record_id, province, department)
ORDER BY e.record_id, e.province, e.department
