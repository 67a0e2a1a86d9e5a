-- First step: deletes rows that differ from their history.
DELETE FROM record r
USING unnest(%(ids)s::uuid[], %(provinces)s::text[], %(departments)s::text[]) AS k (record_id, province, department)
WHERE r.record_id = k.record_id AND r.province = k.province AND r.department = k.department
