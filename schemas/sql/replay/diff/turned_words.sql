-- Number of entities and domains by change of word (有, 待核, 无); registrations have none.
SELECT was, becomes, count(*)
FROM (
    SELECT CASE WHEN COALESCE(old_penalties + old_listings, 0) > 0 THEN '有' WHEN old_pending THEN '待核' ELSE '无' END AS was,
           CASE WHEN COALESCE(new_penalties + new_listings, 0) > 0 THEN '有' WHEN new_pending THEN '待核' ELSE '无' END AS becomes
    FROM turned WHERE domain <> 'registration'
) w
WHERE was <> becomes
GROUP BY 1, 2
ORDER BY was = '无', becomes = '有', 1, 2
