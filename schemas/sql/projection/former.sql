-- Older statements about another entity than the record is about now.
INSERT INTO former_entity (uscc, record_id)
SELECT DISTINCT s.uscc, s.record_id
FROM suspect s JOIN record r USING (record_id, province, department)
WHERE s.uscc <> r.uscc
ORDER BY 1, 2
ON CONFLICT DO NOTHING
