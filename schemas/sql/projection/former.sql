-- Former entities of a record: those of its older statements, if the record is now about another one.
INSERT INTO former_entity (uscc, record_id)
SELECT DISTINCT s.uscc, s.record_id
FROM suspect s JOIN record r USING (record_id, province, department)
WHERE s.uscc <> r.uscc
ORDER BY 1, 2
ON CONFLICT DO NOTHING
