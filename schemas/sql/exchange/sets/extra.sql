-- Records that another province does not share, and whose copy here is as it was when the set came.
SELECT r.record_id, r.province, r.department, r.kind, r.status, r.uscc, r.subject_name, r.subject_kind, r.domain, r.authority,
       r.stated_at, r.version, r.epoch, d.partition
FROM exchange_difference d
JOIN record r USING (record_id, province, department)
WHERE d.closed_at IS NULL AND d.difference = 'EXTRA' AND r.status <> 'WITHDRAWN'
  AND (r.epoch, r.version) = (d.held_epoch, d.held_version)
ORDER BY r.record_id, r.province, r.department
LIMIT %(most)s
