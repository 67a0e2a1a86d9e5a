-- The entities that earlier statements of these records named.
INSERT INTO former_entity (uscc, record_id)
SELECT DISTINCT h.uscc, h.record_id
FROM record_history h JOIN record r USING (record_id, province, department)
WHERE h.record_id = ANY(%(ids)s) AND h.uscc <> r.uscc
ORDER BY 1, 2
ON CONFLICT DO NOTHING
