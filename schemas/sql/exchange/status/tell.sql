-- A province's own status: kind PUBLISHED (its own last checkpoints) and APPLIED (those of others that this generation
-- has whole, with the domains that differed when the last complete one was compared; * while none was).
SELECT 'PUBLISHED' AS kind, i.province, c.partition, c.topic_id, c.sequence, c."offset", c.made_at, NULL::timestamptz AS applied_at,
       '{}'::text[] AS differs
FROM xinliu.published_checkpoint c CROSS JOIN xinliu.installation i
UNION ALL
SELECT 'APPLIED', a.province, a.partition, a.topic_id, a.sequence, a."offset", a.made_at, a.applied_at,
       COALESCE(
           (SELECT array_agg(f.domain ORDER BY f.domain) FILTER (WHERE NOT f.equal)
            FROM foreign_domain f WHERE (f.province, f.partition) = (a.province, a.partition)),
           CASE WHEN a.complete OR EXISTS (
               SELECT FROM foreign_domain f WHERE (f.province, f.partition) = (a.province, a.partition)
           ) THEN '{}' ELSE '{*}' END::text[]
       )
FROM applied_checkpoint a
ORDER BY 1, 2, 3
