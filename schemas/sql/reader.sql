-- What the report service may rely on (docs/reading.md). Every view follows the serving generation; read them inside one
-- REPEATABLE READ transaction, and report.position with them, and the answer is of one moment.
CREATE SCHEMA IF NOT EXISTS report;  -- report/time.sql comes before, report/time_views.sql after

CREATE VIEW report.position AS
SELECT 1 AS generation, topic, topic_id, partition, next_offset
FROM g1.position WHERE (SELECT generation FROM xinliu.serving) = 1;

CREATE VIEW report.entity AS
SELECT uscc, name, kind, stated_at
FROM g1.entity WHERE (SELECT generation FROM xinliu.serving) = 1;

CREATE VIEW report.credit_view AS
SELECT uscc, domain, records, penalties, listings, digest_hi, digest_lo, changed_at
FROM g1.credit_view WHERE (SELECT generation FROM xinliu.serving) = 1;

-- Penalties in force (行政处罚); decided_on is what a window counts from. Money in 万元.
CREATE VIEW report.penalty AS
SELECT record_id, uscc, subject_name, province, domain, department, authority, version, stated_at, known_at,
       penalty_document_number AS document_number, penalty_violation_type AS violation_type, penalty_facts AS facts,
       penalty_basis AS basis, penalty_categories AS categories, penalty_content AS content, penalty_fine AS fine,
       penalty_confiscated AS confiscated, penalty_licence AS licence, penalty_decided_on AS decided_on,
       penalty_valid_until AS valid_until, penalty_publish_until AS publish_until,
       penalty_authority_name AS authority_name, penalty_source_unit AS source_unit, penalty_remark AS remark,
       penalty_level AS level
FROM g1.record
WHERE (SELECT generation FROM xinliu.serving) = 1 AND kind = 'PENALTY' AND status = 'IN_FORCE';

-- Entries of the seven lists, removed ones too: removed_on says so; an entry counts for a window that it overlaps.
CREATE VIEW report.listing AS
SELECT record_id, uscc, subject_name, province, domain, department, authority, version, stated_at, known_at,
       listing_list AS list, listing_entry_id AS entry_id, listing_grounds AS grounds, listing_basis AS basis,
       listing_authority_name AS authority_name, listing_listed_on AS listed_on, listing_valid_until AS valid_until,
       listing_removed_on AS removed_on, listing_removal_reason AS removal_reason, listing_remark AS remark
FROM g1.record
WHERE (SELECT generation FROM xinliu.serving) = 1 AND kind = 'LISTING' AND status = 'IN_FORCE';

-- Every accepted statement, for "what did we know": statement is the Avro body, NULL where it was erased. A statement may
-- stand twice; its earliest row says since when it is known.
CREATE VIEW report.history AS
SELECT h.record_id, h.version, h.digest_hi, h.digest_lo, h.status, h.uscc, h.known_at, h.accepted_partition,
       h.accepted_offset, h.statement, w.fingerprint, w.schema
FROM g1.record_history h JOIN g1.writer_schema w USING (writer)
WHERE (SELECT generation FROM xinliu.serving) = 1;

-- All records that are, or once were, about an entity.
CREATE VIEW report.record_entity AS
SELECT uscc, record_id FROM g1.record WHERE (SELECT generation FROM xinliu.serving) = 1
UNION
SELECT uscc, record_id FROM g1.former_entity WHERE (SELECT generation FROM xinliu.serving) = 1;

-- 数据截至, by source; NULL where a source has never vouched for anything.
CREATE VIEW report.source AS
SELECT f.department, f.topic, f.data_as_of, f.held_since, f.open_quarantine,
       COALESCE(f.data_as_of < now() - (SELECT silent_after FROM xinliu.freshness), true) AS silent
FROM g1.source_freshness f
WHERE (SELECT generation FROM xinliu.serving) = 1;

-- Refused records that someone must still look at and whose entity could be read (待核).
CREATE VIEW report.pending AS
SELECT uscc, department, domain, received_at, quarantine_partition, quarantine_offset, findings
FROM g1.quarantine
WHERE (SELECT generation FROM xinliu.serving) = 1 AND state = 'OPEN' AND uscc IS NOT NULL;

-- 有 / 无 / 待核 / 未归集 for each domain in force on the last day of the window, both days included.
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
        WHERE r.uscc = entity AND (
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
        GRANT SELECT ON xinliu.serving, xinliu.domain, xinliu.domain_source, xinliu.list, xinliu.freshness TO xinliu_reader;
        GRANT EXECUTE ON FUNCTION report.domain_state(text, date, date) TO xinliu_reader;
    END IF;
END
$$;
