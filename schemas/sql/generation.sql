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
    disputed_since date,
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
    penalty_level               text,
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
    registration_entity_kind    text,
    registration_since          date,
    registration_until          date,
    registration_name_since     date,
    registration_former_names   text,
    registration_authority_name text,
    registration_remark         text,
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

-- Where entities are registered (经营主体登记): one row for each entity and province. The latest since is where it is
-- registered now; of two of one day the higher rank.
CREATE VIEW registration AS
SELECT record_id, uscc, subject_name AS name, subject_kind, registration_entity_kind AS entity_kind, province,
       registration_since AS since, registration_until AS until, registration_name_since AS name_since,
       registration_former_names AS former_names, registration_authority_name AS authority_name,
       registration_remark AS remark, department, authority, version, digest_hi, digest_lo, stated_at, known_at,
       row_number() OVER (
           PARTITION BY uscc ORDER BY registration_since DESC, version DESC, digest_hi DESC, digest_lo DESC
       ) = 1 AS current
FROM record
WHERE kind = 'REGISTRATION' AND status = 'IN_FORCE';

-- Name and kind as the registry has them; where it has none, as the entity's record that was stated last. A revoked
-- registration names nobody.
CREATE VIEW entity AS
SELECT s.uscc, COALESCE(r.name, s.name) AS name, COALESCE(r.entity_kind, s.kind) AS kind, s.stated_at,
       CASE WHEN r.uscc IS NULL THEN 'STATEMENT' ELSE 'REGISTRY' END AS name_source,
       r.province, r.since, r.until, r.name_since, r.former_names
FROM (
    SELECT DISTINCT ON (uscc) uscc, subject_name AS name, subject_kind AS kind, stated_at
    FROM record
    WHERE kind <> 'REGISTRATION' OR status = 'IN_FORCE'
    ORDER BY uscc, stated_at DESC, digest_hi DESC, digest_lo DESC
) s
LEFT JOIN registration r ON r.uscc = s.uscc AND r.current;

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
