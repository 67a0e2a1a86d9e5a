-- Records that a correction moves from one entity to another: the old entity is kept.
INSERT INTO former_entity (uscc, record_id)
SELECT held.uscc, held.record_id
FROM stage JOIN record held USING (record_id, province, department)
WHERE held.uscc <> stage.uscc
ORDER BY 1, 2
ON CONFLICT DO NOTHING
