-- Whom records were once said to be about, beside the entity of their newest statement.
INSERT INTO former_entity (uscc, record_id)
SELECT DISTINCT h.uscc, h.record_id
FROM rebuild_said h JOIN record r USING (record_id, province, department)
WHERE h.uscc <> r.uscc
ORDER BY 1, 2
ON CONFLICT DO NOTHING
