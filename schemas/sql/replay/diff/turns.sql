-- Entities and domains that differ, the harmful ones first: 有 → 无, then 无 → 有.
SELECT t.*
FROM turned t
CROSS JOIN LATERAL (
    SELECT COALESCE(old_penalties + old_listings, 0) > 0 AS old_any, COALESCE(new_penalties + new_listings, 0) > 0 AS new_any
) w
ORDER BY domain = 'registration', CASE WHEN old_any AND NOT new_any THEN 0 WHEN new_any AND NOT old_any THEN 1 ELSE 2 END, uscc, domain, province
LIMIT %(limit)s
