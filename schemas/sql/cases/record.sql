-- A record, and the province where its entity is registered now: by its registration, else by its code.
SELECT r.record_id, r.province, r.department, r.domain, r.kind, r.status, r.version, r.uscc, r.subject_name AS name, r.disputed_since,
       COALESCE(g.province, p.province) AS registered_in
FROM record r
LEFT JOIN registration g ON g.uscc = r.uscc AND g.current
LEFT JOIN xinliu.province p ON p.division = substr(r.uscc, 3, 2)
WHERE r.record_id = %(record_id)s
ORDER BY r.province, r.department
