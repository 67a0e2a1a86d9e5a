-- Rows of `record` that differ from their history in any column. The range, or the ids, must be those that `expected` was filled
-- for.
SELECT record_id, province, department, difference,
       CASE WHEN difference = 'CHANGED' THEN ARRAY(
           SELECT one.key
           FROM jsonb_each_text(to_jsonb(e)) one JOIN jsonb_each_text(to_jsonb(r)) other USING (key)
           WHERE one.value IS DISTINCT FROM other.value
           ORDER BY one.key
       ) ELSE '{}' END AS fields,
       r.uscc AS held_uscc, e.uscc AS expected_uscc, COALESCE(e.domain, r.domain) AS domain
FROM expected e
FULL JOIN (
    SELECT * FROM record WHERE record_id BETWEEN %(first)s AND %(last)s AND (%(ids)s::uuid[] IS NULL OR record_id = ANY(%(ids)s))
) r USING (record_id, province, department)
CROSS JOIN LATERAL (
    SELECT CASE WHEN r.uscc IS NULL THEN 'MISSING' WHEN e.uscc IS NULL THEN 'EXTRA' ELSE 'CHANGED' END AS difference
) d
WHERE ROW (e.*) IS DISTINCT FROM ROW (r.*)
ORDER BY record_id, province, department
