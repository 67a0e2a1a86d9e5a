-- The figures of this month by China's calendar, by department and indicator.
WITH month AS (SELECT date_trunc('month', now() AT TIME ZONE 'Asia/Shanghai')::date AS since)
SELECT department, lower(CASE measure WHEN 'CONFLICT' THEN 'CONFLICTS' ELSE measure END), sum(n)::bigint
FROM quality_count
WHERE day >= (SELECT since FROM month) AND measure <> 'VISIBLE'
GROUP BY 1, 2
UNION ALL
SELECT department, 'late', sum(n)::bigint
FROM quality_lateness
WHERE day >= (SELECT since FROM month) AND late
GROUP BY 1
