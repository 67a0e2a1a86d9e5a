-- 数据截至 of this province's own part, for a checkpoint: read in the snapshot that the checkpoint covers, on a connection
-- whose search_path is the generation. One row for every domain that is mutual today in China, and for registrations,
-- whether anything is shared in it or not: a domain that a checkpoint leaves out reads 未归集 elsewhere. NULL if nobody
-- answers for the domain, or one of its sources is 中断 by the limits of this province, or is held back for that long by
-- a refused record whose entity cannot be read: the others then show 未归集, as this province does. NULL, too, until the
-- sweep has gone through all records for the domain, in the generation that serves: before that, less is shared than
-- there is.
SELECT d.domain,
       CASE WHEN count(s.department) > 0 AND bool_and(j.state <> '中断') AND bool_and(w.generation IS NOT NULL)
           THEN min(f.data_as_of) END AS data_as_of
FROM (
    SELECT domain FROM xinliu.mutual_domain
    WHERE (now() AT TIME ZONE 'Asia/Shanghai')::date BETWEEN effective_from AND COALESCE(effective_to, 'infinity')
    UNION
    SELECT 'registration'
) d
LEFT JOIN xinliu.swept w ON w.generation = (SELECT generation FROM xinliu.serving)
    AND (d.domain = ANY (w.domains) OR d.domain = 'registration')
LEFT JOIN xinliu.domain_source s USING (domain)
LEFT JOIN source_freshness f USING (department)
LEFT JOIN LATERAL xinliu.judge_source(s.department, f.data_as_of, now()) j ON s.department IS NOT NULL
GROUP BY d.domain
ORDER BY d.domain
