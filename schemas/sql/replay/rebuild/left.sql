-- Time of change of former entities: a record that a correction took from an entity changed that entity's view, too.
UPDATE credit_view v SET changed_at = GREATEST(v.changed_at, l.known_at)
FROM (
    SELECT f.uscc, r.province, r.domain, max(r.known_at) AS known_at
    FROM former_entity f JOIN record r USING (record_id)
    GROUP BY 1, 2, 3
) l
WHERE (v.uscc, v.province, v.domain) = (l.uscc, l.province, l.domain)
