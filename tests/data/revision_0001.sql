-- What revision 0001 made when it was the newest: databases of that age exist. Kept as it was.
-- What all generations share: which generation serves, and the catalogue as the readers see it.
CREATE SCHEMA xinliu;

CREATE TABLE xinliu.generation (
    generation  integer PRIMARY KEY,
    schema_name text NOT NULL UNIQUE,
    state       text NOT NULL CHECK (state IN ('BUILDING', 'SERVING', 'RETIRED')),
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- One row: promoting a generation is one UPDATE of it (DESIGN, section 4).
CREATE TABLE xinliu.serving (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    generation integer NOT NULL REFERENCES xinliu.generation
);

-- The catalogue as readers join it; loaded from schemas/catalogue by the view worker, never edited here.
CREATE TABLE xinliu.domain (
    domain         text COLLATE "C" NOT NULL,
    name_zh        text NOT NULL,
    display_label  text NOT NULL,
    effective_from date NOT NULL,
    effective_to   date,
    PRIMARY KEY (domain, effective_from)
);

-- Which departments a domain's records come from.
CREATE TABLE xinliu.domain_source (
    domain     text COLLATE "C" NOT NULL,
    department text NOT NULL,
    name_zh    text NOT NULL,
    PRIMARY KEY (domain, department)
);

CREATE TABLE xinliu.list (
    list    text PRIMARY KEY,
    name_zh text NOT NULL,
    domain  text COLLATE "C" NOT NULL
);

-- One row. After how long without news a source counts as silent (未归集); illustrative, no rule states it.
CREATE TABLE xinliu.freshness (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    silent_after interval NOT NULL DEFAULT '7 days'
);
INSERT INTO xinliu.freshness DEFAULT VALUES;
CREATE SCHEMA g1;
SET search_path = g1, xinliu, pg_catalog;
-- One generation of the view: created in a PostgreSQL schema of its own, which the search_path names.

-- The current state of every record: the statement of the highest rank (version, digest_hi, digest_lo).
CREATE TABLE record (
    record_id   uuid PRIMARY KEY,
    version     bigint NOT NULL,
    digest_hi   bigint NOT NULL,
    digest_lo   bigint NOT NULL,
    kind        text NOT NULL,
    status      text NOT NULL,
    reason      text NOT NULL,
    uscc        text COLLATE "C" NOT NULL,
    subject_name text NOT NULL,
    subject_kind text NOT NULL,
    province    text NOT NULL,
    domain      text COLLATE "C" NOT NULL,
    department  text NOT NULL,
    authority   text NOT NULL,
    stated_at   timestamptz NOT NULL,
    penalty_registration_number text,
    penalty_organisation_code   text,
    penalty_tax_number          text,
    penalty_institution_number  text,
    penalty_social_organisation_number text,
    penalty_legal_representative text,
    penalty_document_number     text,
    penalty_violation_type      text,
    penalty_facts               text,
    penalty_basis               text,
    penalty_categories          text,
    penalty_content             text,
    penalty_fine                numeric(18, 6),  -- 万元
    penalty_confiscated         numeric(18, 6),  -- 万元
    penalty_licence             text,
    penalty_decided_on          date,
    penalty_valid_until         date,
    penalty_publish_until       date,
    penalty_authority_name      text,
    penalty_source_unit         text,
    penalty_source_unit_code    text,
    penalty_remark              text,
    listing_list                text,
    listing_entry_id            text,
    listing_grounds             text,
    listing_basis               text,
    listing_authority_name      text,
    listing_legal_representative text,
    listing_listed_on           date,
    listing_valid_until         date,
    listing_removed_on          date,
    listing_removal_reason      text,
    listing_remark              text,
    -- Equal for two records that state the same decision: only a hint at a possible duplicate, never an identity.
    content_key bigint,
    -- Broker time (LogAppendTime of accepted) of the statement that is held.
    known_at    timestamptz NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX record_uscc ON record (uscc);
CREATE INDEX record_content_key ON record (content_key) WHERE content_key IS NOT NULL;

-- The writer schemas that history was written with, so that it can be read without any registry.
CREATE TABLE writer_schema (
    writer      smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL UNIQUE,
    schema      jsonb NOT NULL
);

-- Every accepted statement; statement is the Avro body as the department wrote it, NULL once it is erased. Appended to
-- and never looked up by content in the hot path, so without a unique key: a statement that two workers took over at the
-- same time may stand twice, and its earliest row says since when it is known (decision 006).
CREATE TABLE record_history (
    record_id uuid NOT NULL,
    version   bigint NOT NULL,
    digest_hi bigint NOT NULL,
    digest_lo bigint NOT NULL,
    status    text NOT NULL,
    uscc      text COLLATE "C" NOT NULL,
    known_at  timestamptz NOT NULL,
    accepted_partition smallint NOT NULL,
    accepted_offset    bigint NOT NULL,
    writer    smallint NOT NULL,
    statement bytea
);
CREATE INDEX record_history_record ON record_history (record_id);
CREATE INDEX record_history_revoked ON record_history (record_id) WHERE status = 'REVOKED';

-- Whom a record was once said to be about, beside the entity of its newest statement (a correction may move it).
CREATE TABLE former_entity (
    uscc      text COLLATE "C" NOT NULL,
    record_id uuid NOT NULL,
    PRIMARY KEY (uscc, record_id)
);

-- The credit view: what is in force for an entity, by domain, kept by delta. digest is the XOR over the records held.
CREATE TABLE credit_view (
    uscc       text COLLATE "C" NOT NULL,
    domain     text COLLATE "C" NOT NULL,
    records    integer NOT NULL,
    penalties  integer NOT NULL,
    listings   integer NOT NULL,
    digest_hi  bigint NOT NULL,
    digest_lo  bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (uscc, domain)
) WITH (fillfactor = 85);

-- Name and kind as the entity's record that was stated last gives them.
CREATE VIEW entity AS
SELECT DISTINCT ON (uscc) uscc, subject_name AS name, subject_kind AS kind, stated_at
FROM record
ORDER BY uscc, stated_at DESC, digest_hi DESC, digest_lo DESC;

-- How far this generation has folded the logs: the position that counts, moved by compare-and-set.
CREATE TABLE position (
    topic       text NOT NULL,
    topic_id    text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- The input topics that this province expects news from.
CREATE TABLE source (
    topic      text PRIMARY KEY,
    topic_id   text NOT NULL,
    department text NOT NULL UNIQUE,
    partitions integer NOT NULL
);

-- Intake's vectors as each partition of accepted and quarantine has told them.
CREATE TABLE input_progress (
    topic       text NOT NULL,
    topic_id    text NOT NULL,
    partition   integer NOT NULL,
    reporter_topic     text NOT NULL,
    reporter_partition integer NOT NULL,
    next_offset bigint NOT NULL,
    as_of       timestamptz,
    PRIMARY KEY (topic, partition, reporter_topic, reporter_partition)
);

-- The topic quarantine, projected.
CREATE TABLE quarantine (
    topic       text NOT NULL,
    topic_id    text NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint NOT NULL,
    department  text NOT NULL,
    received_at timestamptz NOT NULL,
    uscc        text COLLATE "C",
    domain      text,
    record_id   text,
    version     bigint,
    findings    jsonb NOT NULL,
    value       bytea,
    state       text NOT NULL DEFAULT 'OPEN',
    quarantine_partition integer NOT NULL,
    quarantine_offset    bigint NOT NULL,
    PRIMARY KEY (topic, topic_id, partition, "offset")
);
CREATE INDEX quarantine_uscc ON quarantine (uscc) WHERE state = 'OPEN';
CREATE INDEX quarantine_department ON quarantine (department) WHERE state = 'OPEN';

-- What must leave, written with the effect it speaks of: kind EXCEPTIONS (receipts of a department) or CHANGES (entities).
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('EXCEPTIONS', 'CHANGES')),
    department text,
    payload    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What the relay has told each department: receipts carry only news.
CREATE TABLE receipt_sent (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    as_of       timestamptz,
    PRIMARY KEY (topic, partition)
);

-- Visible: every partition of accepted and quarantine has told that it is past this offset of the input.
CREATE VIEW watermark AS
SELECT p.topic, p.topic_id, p.partition, s.department, min(p.next_offset) AS next_offset,
       CASE WHEN count(p.as_of) = count(*) THEN min(p.as_of) END AS as_of
FROM input_progress p
JOIN source s USING (topic, topic_id)
GROUP BY p.topic, p.topic_id, p.partition, s.department
HAVING count(*) = (SELECT count(*) FROM position WHERE topic IN ('accepted', 'quarantine'));

-- 数据截至: what a source vouches for in all its input partitions, held back by refusals that name no entity.
CREATE VIEW source_freshness AS
SELECT s.department, s.topic,
       CASE WHEN w.told = s.partitions THEN LEAST(w.as_of, q.held_since) END AS data_as_of,
       q.held_since, COALESCE(q.open_entries, 0) AS open_quarantine
FROM source s
LEFT JOIN LATERAL (
    SELECT count(as_of) AS told, min(as_of) AS as_of FROM watermark w WHERE w.topic = s.topic
) w ON true
LEFT JOIN LATERAL (
    SELECT min(received_at) FILTER (WHERE uscc IS NULL) AS held_since, count(*) AS open_entries
    FROM quarantine q WHERE q.department = s.department AND q.state = 'OPEN'
) q ON true;
SET search_path = public;
INSERT INTO xinliu.generation (generation, schema_name, state) VALUES (1, 'g1', 'SERVING');
INSERT INTO xinliu.serving (generation) VALUES (1);
-- What the report service may rely on (docs/reading.md). Every view follows the serving generation; read them inside one
-- REPEATABLE READ transaction, and report.position with them, and the answer is of one moment.
CREATE SCHEMA report;

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
       penalty_authority_name AS authority_name, penalty_source_unit AS source_unit, penalty_remark AS remark
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
        SELECT count(*) AS n FROM report.penalty r
        WHERE r.uscc = entity AND r.domain = d.domain AND r.decided_on BETWEEN window_from AND window_to
    ) p
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM report.listing r
        WHERE r.uscc = entity AND r.domain = d.domain AND r.listed_on <= window_to
          AND COALESCE(r.removed_on, 'infinity') >= window_from
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
    WHERE d.effective_from <= window_to AND COALESCE(d.effective_to, 'infinity') >= window_to
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
CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO public.alembic_version VALUES ('0001');
