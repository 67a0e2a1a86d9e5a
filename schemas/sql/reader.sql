-- What the report service may rely on (docs/reading.md). Every view follows the serving generation; read them inside one
-- REPEATABLE READ transaction, and report.position with them, and the answer is of one moment.
CREATE SCHEMA IF NOT EXISTS report;  -- report/time.sql comes before, report/time_views.sql after

CREATE VIEW report.position AS
SELECT (SELECT generation FROM xinliu.serving) AS generation, topic, topic_id, partition, next_offset
FROM serving.position;

-- Where entities are registered (经营主体登记): one row for each entity and province, under its name there; current is where
-- it is registered now, contested says that it is claimed there while it stands open elsewhere. former_names is
-- NAME|LAST DAY;…, see report.former_name.
CREATE VIEW report.registration AS
SELECT record_id, uscc, name, subject_kind, entity_kind, province, since, until, name_since, former_names, authority_name,
       remark, department, authority, version, digest_hi, digest_lo, stated_at, known_at, current, contested
FROM serving.registration;

-- What operators decided about registrations that provinces contest: an entity is registered where the latest decision
-- says. Each author has a topic, and sequences count within one, so that time alone orders them. Workers and the
-- steward decide nothing.
CREATE VIEW report.settled_registration AS
SELECT detail ->> 'uscc' AS uscc, detail ->> 'province' AS province, at, topic, sequence
FROM xinliu.audit WHERE kind = 'REGISTRATION_SETTLED' AND topic NOT IN ('operations.workers', 'operations.steward');

-- Former names (曾用名称) as the registries state them, each with the last day on which it was the name.
CREATE VIEW report.former_name AS
SELECT DISTINCT r.uscc, split_part(one, '|', 1) AS name, split_part(one, '|', 2)::date AS last_day
FROM report.registration r, string_to_table(r.former_names, ';') AS one;

-- Moves between provinces: from where, to where, since when. What is contested, or lies ahead, is none yet.
CREATE VIEW report.move AS
SELECT *
FROM (
    SELECT uscc, lag(province) OVER held AS from_province, lag(until) OVER held AS left_on,
           province AS to_province, since AS moved_on
    FROM serving.registration
    WHERE NOT contested AND since <= report.china_day(now())
    WINDOW held AS (PARTITION BY uscc ORDER BY since, version, digest_hi, digest_lo)
) m
WHERE from_province IS NOT NULL;

-- Who an entity is. name and kind are the registry's where it is known (name_source REGISTRY), else those of the record
-- that was stated last (STATEMENT). Without a registration, province is what the code's division says (province_source
-- CODE): where the entity was first registered, which may be long ago; NULL where that is none of the four.
CREATE VIEW report.entity AS
SELECT e.uscc, e.name, e.kind, e.stated_at, e.name_source,
       COALESCE(e.province, p.province) AS province,
       CASE WHEN e.province IS NULL THEN 'CODE' ELSE 'REGISTRY' END AS province_source,
       e.since, e.until, e.name_since, e.former_names,
       e.province IS NOT NULL AND substr(e.uscc, 3, 2) <> '10' AND e.province IS DISTINCT FROM p.province AS division_differs,
       EXISTS (SELECT FROM serving.registration c WHERE c.uscc = e.uscc AND c.contested) AS contested
FROM serving.entity e
LEFT JOIN xinliu.province p ON p.division = substr(e.uscc, 3, 2);

CREATE VIEW report.credit_view AS
SELECT uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at
FROM serving.credit_view;

-- Whose database this is. What a view holds of this province alone, it holds of all while nothing says whose it is: then nothing
-- of another province can be there.
CREATE VIEW report.installation AS SELECT province FROM xinliu.installation;

-- Penalties in force (行政处罚), of all provinces; decided_on is what a window counts from. Money in 万元.
CREATE VIEW report.mutual_penalty AS
SELECT record_id, uscc, subject_name, province, domain, department, authority, version, stated_at, known_at,
       penalty_document_number AS document_number, penalty_violation_type AS violation_type, penalty_facts AS facts,
       penalty_basis AS basis, penalty_categories AS categories, penalty_content AS content, penalty_fine AS fine,
       penalty_confiscated AS confiscated, penalty_licence AS licence, penalty_decided_on AS decided_on,
       penalty_valid_until AS valid_until, penalty_publish_until AS publish_until,
       penalty_authority_name AS authority_name, penalty_source_unit AS source_unit, penalty_remark AS remark,
       disputed_since, penalty_level AS level
FROM serving.record
WHERE kind = 'PENALTY' AND status = 'IN_FORCE';

-- Those of this province.
CREATE VIEW report.penalty AS
SELECT * FROM report.mutual_penalty WHERE province = COALESCE((SELECT i.province FROM xinliu.installation i), province);

-- Entries of the seven lists, of all provinces, removed ones too: removed_on says so; an entry counts for a window that it
-- overlaps.
CREATE VIEW report.mutual_listing AS
SELECT record_id, uscc, subject_name, province, domain, department, authority, version, stated_at, known_at,
       listing_list AS list, listing_entry_id AS entry_id, listing_grounds AS grounds, listing_basis AS basis,
       listing_authority_name AS authority_name, listing_listed_on AS listed_on, listing_valid_until AS valid_until,
       listing_removed_on AS removed_on, listing_removal_reason AS removal_reason, listing_remark AS remark,
       disputed_since
FROM serving.record
WHERE kind = 'LISTING' AND status = 'IN_FORCE';

-- Those of this province.
CREATE VIEW report.listing AS
SELECT * FROM report.mutual_listing WHERE province = COALESCE((SELECT i.province FROM xinliu.installation i), province);

-- Every accepted statement, for "what did we know": statement is the Avro body, NULL where it was erased. A statement may
-- stand twice; its earliest row says since when it is known.
CREATE VIEW report.history AS
SELECT h.record_id, h.version, h.digest_hi, h.digest_lo, h.status, h.uscc, h.known_at, h.accepted_partition,
       h.accepted_offset, h.statement, w.fingerprint, w.schema, h.province, h.department, h.reason, h.epoch
FROM serving.record_history h JOIN serving.writer_schema w USING (writer);

-- All records that are, or once were, about an entity.
CREATE VIEW report.record_entity AS
SELECT uscc, record_id FROM serving.record
UNION
SELECT uscc, record_id FROM serving.former_entity;

-- What each source vouches for, whatever the time is.
CREATE VIEW report.source_vouched AS
SELECT f.department, f.topic, f.data_as_of, f.held_since, f.open_quarantine, m.marked_at
FROM serving.source_freshness f JOIN serving.source_marked m USING (department);

-- Every source as it would be told of at a time, if nothing more came until then (xinliu.judge_source).
CREATE FUNCTION report.source_at(at_time timestamptz)
RETURNS TABLE (
    department text, topic text, data_as_of timestamptz, held_since timestamptz, open_quarantine bigint, silent boolean,
    state text, since timestamptz, expected_every interval, silent_after interval, marked_at timestamptz
)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT v.department, v.topic, v.data_as_of, v.held_since, v.open_quarantine, j.state = '中断', j.state, j.since,
           j.expected_every, j.silent_after, v.marked_at
    FROM report.source_vouched v CROSS JOIN LATERAL xinliu.judge_source(v.department, v.data_as_of, at_time) j
$$;

-- 数据截至, by source; NULL where a source has never vouched for anything.
CREATE VIEW report.source AS SELECT * FROM report.source_at(now());

-- The same by domain and department.
CREATE VIEW report.domain_source AS
SELECT x.domain, x.department, x.name_zh, s.data_as_of, COALESCE(s.state, '中断') AS state, s.since, s.expected_every,
       s.silent_after, s.held_since, s.open_quarantine, s.marked_at
FROM xinliu.domain_source x LEFT JOIN report.source s USING (department);

-- Refused records of this province that someone must still look at and whose entity could be read (待核). An entry leaves in the very
-- transaction that makes its record visible, or once somebody has decided that it stays out. A registration among them says nothing of any domain.
CREATE VIEW report.pending AS
SELECT uscc, department, domain, received_at, quarantine_partition, quarantine_offset, findings,
       COALESCE(domain = 'registration' AND NOT findings @> '[{"code": "REGISTRATION_DOMAIN"}]', false) AS registration
FROM serving.quarantine_entry
WHERE state = 'OPEN' AND uscc IS NOT NULL AND starts_with(topic, 'records.')
  AND NOT held AND NOT discarded;

-- All refused records of this province whose entity could be read, with what tells whether they were pending at an earlier moment.
CREATE VIEW report.quarantine AS
SELECT e.uscc, e.department, e.domain, e.received_at, e.quarantine_partition, e.quarantine_offset, e.state,
       r.record_id, e.version, d.discarded_at, d.discarded_partition, d.discarded_offset,
       COALESCE(e.domain = 'registration' AND NOT e.findings @> '[{"code": "REGISTRATION_DOMAIN"}]', false) AS registration
FROM serving.quarantine_entry e
LEFT JOIN serving.record r
    ON r.record_id = CASE WHEN e.record_id ~ '^[0-9a-f]{32}$' THEN e.record_id::uuid END AND r.department = e.department
    AND r.province = COALESCE((SELECT i.province FROM xinliu.installation i), r.province)
LEFT JOIN LATERAL (
    SELECT o.recorded_at AS discarded_at, o.quarantine_partition AS discarded_partition,
           o.quarantine_offset AS discarded_offset
    FROM serving.quarantine_outcome o
    WHERE (o.topic, o.topic_id, o.partition, o."offset") = (e.topic, e.topic_id, e.partition, e."offset")
      AND o.outcome = 'DISCARDED'
    ORDER BY o.quarantine_offset LIMIT 1
) d ON true
WHERE e.uscc IS NOT NULL AND starts_with(e.topic, 'records.');

-- 有 / 无 / 待核 / 未归集 for each domain in force on the last day of the window, both days included, of this province's own records.
-- 无 is said only where every source of the domain vouches for it and nothing about the entity waits in the quarantine.
CREATE FUNCTION report.domain_state(entity text, window_from date, window_to date)
RETURNS TABLE (
    domain text, name_zh text, display_label text, state text, penalties bigint, listings bigint, pending bigint,
    data_as_of timestamptz
)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT d.domain, d.name_zh, d.display_label,
           CASE
               WHEN p.n + l.n > 0 THEN '有'
               WHEN q.n > 0 THEN '待核'
               WHEN COALESCE(s.silent, true) THEN '未归集'
               ELSE '无'
           END,
           p.n, l.n, q.n, s.data_as_of
    FROM xinliu.domain d
    CROSS JOIN LATERAL (
        -- Where no rule answers (none was loaded), what lies in the window counts: never a 无 for want of a rule.
        SELECT count(*) AS n FROM report.penalty r
        CROSS JOIN LATERAL report.penalty_period(
            r.decided_on, r.valid_until, r.publish_until, r.level, 'IN_FORCE', window_from, window_to
        ) t
        WHERE r.uscc = entity AND r.domain = d.domain AND COALESCE(t.reportable, t.in_window)
    ) p
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM report.listing r
        CROSS JOIN LATERAL report.listing_period(
            r.list, r.listed_on, r.valid_until, r.removed_on, 'IN_FORCE', window_from, window_to
        ) t
        WHERE r.uscc = entity AND r.domain = d.domain AND COALESCE(t.reportable, t.in_window)
    ) l
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM report.pending r
        WHERE r.uscc = entity AND NOT r.registration AND (
            r.domain = d.domain
            OR ((r.domain IS NULL OR NOT EXISTS (SELECT FROM xinliu.domain k WHERE k.domain = r.domain))
                AND r.department IN (SELECT department FROM xinliu.domain_source x WHERE x.domain = d.domain))
        )
    ) q
    LEFT JOIN LATERAL (
        SELECT bool_or(COALESCE(f.silent, true)) AS silent,
               CASE WHEN count(f.data_as_of) = count(*) THEN min(f.data_as_of) END AS data_as_of
        FROM xinliu.domain_source x LEFT JOIN report.source f USING (department)
        WHERE x.domain = d.domain
    ) s ON true
    WHERE report.window_holds(window_from, window_to)
      AND d.effective_from <= window_to AND COALESCE(d.effective_to, 'infinity') >= window_to
    ORDER BY d.domain
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'xinliu_reader') THEN
        GRANT USAGE ON SCHEMA report, xinliu TO xinliu_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA report TO xinliu_reader;
        GRANT SELECT ON xinliu.serving, xinliu.domain, xinliu.domain_source, xinliu.list, xinliu.province, xinliu.heartbeat,
            xinliu.vouched, xinliu.workday TO xinliu_reader;
        GRANT EXECUTE ON FUNCTION report.domain_state(text, date, date) TO xinliu_reader;
    END IF;
END
$$;
