-- Former entities of records: those of older statements, if another than the newest statement's.
INSERT INTO former_entity (uscc, record_id)
SELECT DISTINCT h.uscc, h.record_id
FROM rebuild_said h JOIN record r USING (record_id, province, department)
WHERE h.uscc <> r.uscc
ORDER BY 1, 2
ON CONFLICT DO NOTHING
