-- Entities whose open quarantine entries differ from the published ones, in the snapshot of a checkpoint (all: every
-- entity that has open entries). entries is NULL if nothing is open any more.
-- Only entries that another province may ask about: entities registered in one of the four, domains that are mutual
-- today.
WITH mutual AS (
    SELECT domain FROM xinliu.mutual_domain
    WHERE (now() AT TIME ZONE 'Asia/Shanghai')::date BETWEEN effective_from AND COALESCE(effective_to, 'infinity')
), waiting AS MATERIALIZED (
    SELECT uscc, department, domain, received_at,
           COALESCE(domain = 'registration' AND NOT findings @> '[{"code": "REGISTRATION_DOMAIN"}]', false) AS registration,
           EXISTS (SELECT FROM xinliu.domain k WHERE k.domain = e.domain) AS known
    FROM quarantine_entry e
    WHERE state = 'OPEN' AND starts_with(topic, 'records.') AND uscc ~ '^[0-9A-Z]{18}$' AND NOT held AND NOT discarded
), placed AS (
    SELECT u.uscc
    FROM (SELECT DISTINCT uscc FROM waiting) u
    LEFT JOIN LATERAL (
        SELECT r.province, r.until FROM registration r WHERE r.uscc = u.uscc AND r.current
    ) r ON true
    WHERE CASE WHEN r.province IS NULL
        THEN EXISTS (SELECT FROM xinliu.province p WHERE p.division = substr(u.uscc, 3, 2))
        ELSE COALESCE(r.until > (now() AT TIME ZONE 'Asia/Shanghai')::date, true) END
), counted AS (
    SELECT w.uscc, m.domain, w.department, count(*) AS open,
           (EXTRACT(EPOCH FROM min(w.received_at)) * 1000)::bigint AS since
    FROM waiting w
    JOIN placed USING (uscc)
    CROSS JOIN LATERAL (
        SELECT w.domain AS domain WHERE w.registration OR (w.known AND w.domain IN (SELECT domain FROM mutual))
        UNION ALL
        -- Whose domain cannot be read waits in every domain that its department answers for.
        SELECT s.domain FROM xinliu.domain_source s
        WHERE NOT w.registration AND NOT w.known AND s.department = w.department
          AND s.domain IN (SELECT domain FROM mutual)
    ) m
    GROUP BY 1, 2, 3
), open AS (
    SELECT uscc, jsonb_agg(
        jsonb_build_object('domain', domain, 'department', department, 'open', open, 'since', since)
        ORDER BY domain, department
    ) AS entries
    FROM counted
    GROUP BY uscc
)
SELECT COALESCE(o.uscc, t.uscc), o.entries
FROM open o
FULL JOIN (SELECT uscc, entries FROM xinliu.shared_pending WHERE uscc <> '') t USING (uscc)
WHERE CASE WHEN %(all)s THEN o.uscc IS NOT NULL ELSE o.entries IS DISTINCT FROM t.entries END
ORDER BY 1
