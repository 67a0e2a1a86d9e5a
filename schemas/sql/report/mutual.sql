-- 互认版 (docs/reading.md): province × domain, each province answerable for its part. Loaded behind reader.sql.

-- What waits in the quarantines of other provinces, as they say; and what of theirs was refused here. domain is NULL where it cannot
-- be read: it then waits in all.
CREATE VIEW report.foreign_pending AS
SELECT p.province, p.uscc, e.domain, e.department, e.open, to_timestamp(e.since / 1000.0) AS since
FROM serving.foreign_pending p
CROSS JOIN LATERAL jsonb_to_recordset(p.entries) AS e (domain text, department text, open bigint, since bigint)
WHERE p.uscc <> '' AND p.sequence >= COALESCE((
    SELECT b.sequence FROM serving.foreign_pending b WHERE (b.uscc, b.province, b.partition) = ('', p.province, p.partition)
), p.sequence)
UNION ALL
SELECT substr(topic, length('exchange.') + 1), uscc, domain, NULL, 1, received_at
FROM serving.quarantine_entry
WHERE state = 'OPEN' AND uscc IS NOT NULL AND starts_with(topic, 'exchange.')
  AND NOT held AND NOT discarded;

-- When our own registrations were shared last, and up to which of our checkpoints the others' parts follow from them.
CREATE VIEW report.shared_registration AS
SELECT record_id, department, partition, changed_at FROM xinliu.shared_record WHERE kind = 'REGISTRATION';
CREATE VIEW report.reflected_checkpoint AS
SELECT province, partition, made_at FROM serving.reflected_checkpoint;

-- What every other province vouches for, by domain that is or was mutual, and for its registrations; why it cannot be relied on, NULL
-- where it can. UNKNOWN: a partition has no complete checkpoint, or its last one does not speak of the domain. DIFFERS: what is held
-- is not what the checkpoint says, there and then, or the audit has found a row that is not what history makes of it. SOURCE: the
-- province itself cannot vouch for it. SILENT: its last word is older than its limit (silences.csv). data_as_of is the least of all
-- partitions, never later than the checkpoint was made, and held back by what was refused here and names no entity.
CREATE VIEW report.foreign_source AS
SELECT q.province, d.domain, CASE WHEN h.whole AND h.vouched THEN LEAST(h.data_as_of, z.held_since) END AS data_as_of, h.said_at,
       CASE WHEN NOT h.whole THEN 'UNKNOWN'
            WHEN h.differs OR EXISTS (
                SELECT FROM serving.row_difference x
                WHERE x.mended_at IS NULL AND x.province = q.province AND COALESCE(x.domain = d.domain, true)
            ) THEN 'DIFFERS'
            WHEN NOT h.vouched THEN 'SOURCE'
            WHEN COALESCE(LEAST(h.said_at, z.held_since) < now() - l.silent_after, true) THEN 'SILENT' END AS why
FROM xinliu.province q
CROSS JOIN (SELECT domain FROM xinliu.mutual_domain UNION SELECT 'registration') d
CROSS JOIN LATERAL (
    SELECT COALESCE(bool_and(a.province IS NOT NULL AND f.domain IS NOT NULL), false) AS whole,
           COALESCE(bool_or(NOT f.equal), false) AS differs,
           COALESCE(bool_and(f.data_as_of IS NOT NULL), false) AS vouched,
           min(LEAST(f.data_as_of, f.made_at)) AS data_as_of,
           min(LEAST(f.made_at, f.checked_at)) AS said_at
    FROM serving.position p
    LEFT JOIN serving.applied_checkpoint a ON (a.province, a.partition) = (q.province, p.partition)
    LEFT JOIN serving.foreign_domain f ON (f.province, f.partition, f.domain) = (q.province, p.partition, d.domain)
        AND f.sequence = (
            SELECT max(n.sequence) FROM serving.foreign_domain n WHERE (n.province, n.partition) = (q.province, p.partition)
        )
    WHERE p.topic = 'accepted'
) h
LEFT JOIN LATERAL (
    SELECT min(e.received_at) AS held_since
    FROM serving.quarantine e WHERE e.topic = 'exchange.' || q.province AND e.state = 'OPEN' AND e.uscc IS NULL
) z ON true
LEFT JOIN LATERAL (
    SELECT s.silent_after FROM xinliu.silence s
    WHERE s.province IN (q.province, '*')
      AND report.china_day(now()) BETWEEN s.effective_from AND COALESCE(s.effective_to, 'infinity')
    ORDER BY s.province = '*' LIMIT 1
) l ON true
WHERE q.province <> (SELECT i.province FROM xinliu.installation i);

-- Which province serves an entity's 互认版: the one where it is registered now (source REGISTRY); where no registration is known, the
-- one that the code's division names (CODE); NULL: none of the four. here: it is this one, and the registration has not ended.
CREATE FUNCTION report.mutual_place(entity text)
RETURNS TABLE (province text, name_zh text, source text, since date, until date, here boolean)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT COALESCE(r.province, c.province), n.name_zh, CASE WHEN r.province IS NULL THEN 'CODE' ELSE 'REGISTRY' END,
           r.since, r.until,
           COALESCE(COALESCE(r.province, c.province) = (SELECT i.province FROM report.installation i)
                    AND COALESCE(r.until > report.china_day(now()), true), false)
    FROM (VALUES (entity)) AS asked (uscc)
    LEFT JOIN report.registration r ON r.uscc = asked.uscc AND r.current
    LEFT JOIN xinliu.province c ON c.division = substr(asked.uscc, 3, 2)
    LEFT JOIN xinliu.province n ON n.province = COALESCE(r.province, c.province)
$$;

-- True where this province serves the entity's 互认版; an error that says who does where it does not.
CREATE FUNCTION report.mutual_served(entity text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
DECLARE
    place record;
BEGIN
    SELECT * INTO place FROM report.mutual_place(entity);
    IF NOT place.here THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = CASE
                WHEN place.province IS NULL THEN 'no province of the four serves ' || entity
                WHEN place.until <= report.china_day(now()) THEN
                    entity || ' is registered in none of the four since ' || place.until || ' (last in ' || place.province || ')'
                WHEN place.source = 'CODE' THEN entity || ' is served by ' || place.province || ' (by its code)'
                ELSE entity || ' is served by ' || place.province || ', where it is registered since ' || place.since
            END;
    END IF;
    RETURN true;
END
$$;

-- Which provinces may not know yet that the entity is registered here, so that they share less of it than they hold: its registration
-- was shared, or shared anew, and what they say does not follow from that yet. One that was stated once changes nothing where
-- the code's own division, and no other registration, had said so before.
CREATE FUNCTION report.mutual_unaware(entity text) RETURNS TABLE (province text)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT q.province
    FROM report.registration r
    JOIN xinliu.province q ON q.province <> r.province
    LEFT JOIN report.shared_registration s ON s.record_id = r.record_id AND s.department = r.department
    LEFT JOIN report.reflected_checkpoint c ON c.province = q.province AND c.partition = s.partition
    WHERE r.uscc = entity AND r.current AND r.province = (SELECT i.province FROM report.installation i)
      AND NOT COALESCE(s.changed_at + interval '30 seconds' < c.made_at, false)
      AND (NOT EXISTS (SELECT FROM xinliu.province d WHERE d.division = substr(entity, 3, 2))
           OR EXISTS (SELECT FROM report.registration o WHERE o.uscc = entity AND NOT o.current)
           OR (SELECT count(DISTINCT (h.version, h.digest_hi, h.digest_lo)) FROM report.history h
               WHERE h.record_id = r.record_id AND h.province = r.province AND h.department = r.department) > 1)
$$;

-- The same as a reading of today needs it, for the domains that are mutual on a day and for registrations. NOT_SHARED: the domain
-- is not mutual today, so that it is not shared any more, or not yet; UNAWARE: see report.mutual_unaware.
CREATE FUNCTION report.mutual_said(entity text, day date)
RETURNS TABLE (province text, domain text, data_as_of timestamptz, why text)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT s.province, s.domain, CASE WHEN d.shared THEN s.data_as_of END, CASE WHEN NOT d.shared THEN 'NOT_SHARED' WHEN s.why IS NOT NULL THEN s.why
                WHEN d.domain <> 'registration' AND u.province IS NOT NULL THEN 'UNAWARE' END
    FROM (
        SELECT m.domain, COALESCE(bool_or(
                   report.china_day(now()) BETWEEN m.effective_from AND COALESCE(m.effective_to, 'infinity')
               ), false) AS shared,
               bool_or(mutual_said.day BETWEEN m.effective_from AND COALESCE(m.effective_to, 'infinity')) AS asked
        FROM xinliu.mutual_domain m
        GROUP BY m.domain
        UNION ALL
        SELECT 'registration', true, true
    ) d
    JOIN report.foreign_source s USING (domain)
    LEFT JOIN report.mutual_unaware(entity) u ON u.province = s.province
    WHERE d.asked
$$;

-- 有 / 无 / 待核 / 未归集 for each province and each domain that is mutual on the last day of the window, both days included. 无 is said
-- of another province only where its last word holds (report.foreign_source) and nothing about the entity waits, there or here.
-- why also stands where the state is another.
CREATE FUNCTION report.mutual_state(entity text, window_from date, window_to date)
RETURNS TABLE (
    province text, province_zh text, domain text, name_zh text, display_label text, state text, penalties bigint,
    listings bigint, pending bigint, data_as_of timestamptz, why text
)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    WITH counted AS (
        SELECT c.province, c.domain, count(*) FILTER (WHERE c.penalty) AS penalties,
               count(*) FILTER (WHERE NOT c.penalty) AS listings
        FROM (
            SELECT r.province, r.domain, true AS penalty FROM report.mutual_penalty r
            CROSS JOIN LATERAL report.penalty_period(
                r.decided_on, r.valid_until, r.publish_until, r.level, 'IN_FORCE', window_from, window_to
            ) t
            WHERE r.uscc = entity AND COALESCE(t.reportable, t.in_window)
            UNION ALL
            SELECT r.province, r.domain, false FROM report.mutual_listing r
            CROSS JOIN LATERAL report.listing_period(
                r.list, r.listed_on, r.valid_until, r.removed_on, 'IN_FORCE', window_from, window_to
            ) t
            WHERE r.uscc = entity AND COALESCE(t.reportable, t.in_window)
        ) c
        GROUP BY c.province, c.domain
    ), mutual AS (
        SELECT d.domain, d.name_zh, d.display_label
        FROM xinliu.domain d
        WHERE window_to BETWEEN d.effective_from AND COALESCE(d.effective_to, 'infinity') AND EXISTS (
            SELECT FROM xinliu.mutual_domain m
            WHERE m.domain = d.domain AND window_to BETWEEN m.effective_from AND COALESCE(m.effective_to, 'infinity')
        )
    ), waiting AS (
        SELECT w.province, w.domain, sum(w.open)::bigint AS n FROM report.foreign_pending w
        WHERE w.uscc = entity GROUP BY w.province, w.domain
    ), part AS (
        SELECT q.division, q.province, q.name_zh AS province_zh, s.domain, s.name_zh, s.display_label, s.state, s.penalties,
               s.listings, s.pending, s.data_as_of, CASE s.state WHEN '未归集' THEN 'SOURCE' END AS why
        FROM report.domain_state(entity, window_from, window_to) s
        JOIN mutual m USING (domain)
        JOIN xinliu.province q ON q.province = (SELECT i.province FROM report.installation i)
        UNION ALL
        SELECT q.division, q.province, q.name_zh, m.domain, m.name_zh, m.display_label,
               CASE WHEN c.domain IS NOT NULL THEN '有' WHEN w.n > 0 THEN '待核' WHEN f.why IS NOT NULL THEN '未归集' ELSE '无' END,
               COALESCE(c.penalties, 0), COALESCE(c.listings, 0), COALESCE(w.n, 0), f.data_as_of, f.why
        FROM xinliu.province q
        CROSS JOIN mutual m
        LEFT JOIN counted c ON (c.province, c.domain) = (q.province, m.domain)
        LEFT JOIN LATERAL (
            SELECT sum(x.n)::bigint AS n FROM waiting x
            WHERE x.province = q.province AND COALESCE(x.domain = m.domain, true)
        ) w ON true
        JOIN report.mutual_said(entity, window_to) f ON (f.province, f.domain) = (q.province, m.domain)
    )
    SELECT p.province, p.province_zh, p.domain, p.name_zh, p.display_label, p.state, p.penalties, p.listings, p.pending,
           p.data_as_of, p.why
    FROM part p
    WHERE report.mutual_served(entity) AND report.window_holds(window_from, window_to)
    ORDER BY p.division, p.domain
$$;
