-- One generation of the view: created in a PostgreSQL schema of its own, which the search_path names.

-- The current state of every record: the statement of the highest rank (epoch, version, digest_hi, digest_lo). Whose a record
-- is belongs to its key: the same id said by another department is another record (decision 030). Records of other provinces
-- stand here as they came by the exchange; epoch is theirs to begin (schemas/exchange/topics.py), and 0 for what is our own.
CREATE TABLE record (
    record_id   uuid NOT NULL,
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
    known_at    timestamptz NOT NULL,
    epoch       bigint NOT NULL DEFAULT 0,
    CONSTRAINT record_pkey PRIMARY KEY (record_id, province, department)
) WITH (fillfactor = 85);
CREATE INDEX record_uscc ON record (uscc);
-- Possible duplicates (projection/twins.sql): of the company and of the document number. Without the version, so that a new one leaves
-- the indexes alone.
CREATE INDEX record_content_of_company ON record (content_key, uscc, record_id)
    WHERE content_key IS NOT NULL AND status = 'IN_FORCE' AND epoch = 0;
CREATE INDEX record_content_of_number ON record (content_key, (COALESCE(penalty_document_number, listing_entry_id)), record_id)
    WHERE content_key IS NOT NULL AND status = 'IN_FORCE' AND epoch = 0;
-- Where an entity is registered decides what is shared about it: asked with every record.
CREATE INDEX record_registration ON record (uscc) WHERE kind = 'REGISTRATION';

-- The writer schemas that history was written with, so that it can be read without any registry.
CREATE TABLE writer_schema (
    writer      smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL UNIQUE,
    schema      jsonb NOT NULL
) WITH (autovacuum_analyze_threshold = 0);  -- as xinliu.serving: a handful of rows

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
    statement bytea,
    province   text NOT NULL,
    department text NOT NULL,
    -- What flags are computed from, kept when the statement is erased; NULL: written before it was kept.
    reason    text,
    disputed  boolean,
    removed   boolean,
    -- What a department is measured by (projection/quality.sql); NULL for what was folded before this was kept.
    received_at timestamptz,  -- broker time of the department's own message, the earliest of equal ones
    decided_on  date,         -- of a penalty; erased with the statement
    epoch       bigint NOT NULL DEFAULT 0
);
CREATE INDEX record_history_record ON record_history (record_id);
-- What ends the content of lower versions (projection/quarantine.sql, projection/forget.sql): the highest version is found at once.
CREATE INDEX record_history_ended ON record_history (record_id, version)
    WHERE status = 'REVOKED' OR epoch > 0 AND status <> 'IN_FORCE';

-- Whom a record was once said to be about, beside the entity of its newest statement (a correction may move it).
CREATE TABLE former_entity (
    uscc      text COLLATE "C" NOT NULL,
    record_id uuid NOT NULL,
    PRIMARY KEY (uscc, record_id)
);

-- The credit view: what is in force for an entity, by province and domain, kept by delta. digest is the XOR over the records held.
CREATE TABLE credit_view (
    uscc       text COLLATE "C" NOT NULL,
    province   text COLLATE "C" NOT NULL,
    domain     text COLLATE "C" NOT NULL,
    records    integer NOT NULL,
    penalties  integer NOT NULL,
    listings   integer NOT NULL,
    digest_hi  bigint NOT NULL,
    digest_lo  bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (uscc, province, domain)
) WITH (fillfactor = 85);

-- Where entities are registered (经营主体登记): one row for each entity and province; should two departments of a province
-- register it, the higher rank. `current` is where it is registered now: of what has begun, what stands open (no
-- `until`, or a later one), our own before another province's, and then the latest since (of one day the higher rank).
-- So no other province takes over what our own registry still holds, whatever it says: its claim is `contested` until
-- our registry ends ours, or an operator decides. So it is wherever two stand open, and where one claims a time within
-- another that stands open.
CREATE VIEW registration AS
SELECT record_id, uscc, name, subject_kind, entity_kind, province, since, until, name_since, former_names, authority_name,
       remark, department, authority, version, digest_hi, digest_lo, stated_at, known_at, begun AND place = 1 AS current,
       begun AND place > 1 AND first_value(open AND NOT settled) OVER held AND (open OR since > first_value(since) OVER held)
           AS contested
FROM (
    SELECT *, row_number() OVER (
                  PARTITION BY uscc
                  ORDER BY begun DESC, open AND settled DESC, open AND own DESC, open DESC, since DESC, version DESC,
                           digest_hi DESC, digest_lo DESC
              ) AS place
    FROM (
        SELECT DISTINCT ON (r.uscc, r.province)
               r.record_id, r.uscc, r.subject_name AS name, r.subject_kind, r.registration_entity_kind AS entity_kind, r.province,
               r.registration_since AS since, r.registration_until AS until, r.registration_name_since AS name_since,
               r.registration_former_names AS former_names, r.registration_authority_name AS authority_name,
               r.registration_remark AS remark, r.department, r.authority, r.version, r.digest_hi, r.digest_lo, r.stated_at,
               r.known_at,
               r.registration_since <= (now() AT TIME ZONE 'Asia/Shanghai')::date AS begun,
               COALESCE(r.registration_until > (now() AT TIME ZONE 'Asia/Shanghai')::date, true) AS open,
               r.province IS NOT DISTINCT FROM (SELECT i.province FROM xinliu.installation i) AS own,
               r.province IS NOT DISTINCT FROM (
                   SELECT d.detail ->> 'province' FROM xinliu.audit d
                   WHERE d.kind = 'REGISTRATION_SETTLED' AND d.detail ->> 'uscc' = r.uscc
                     AND d.topic NOT IN ('operations.workers', 'operations.steward') AND d.at <= now()
                   ORDER BY d.at DESC, d.topic, d.sequence DESC LIMIT 1
               ) AS settled
        FROM record r
        WHERE r.kind = 'REGISTRATION' AND r.status = 'IN_FORCE'
        ORDER BY r.uscc, r.province, r.version DESC, r.digest_hi DESC, r.digest_lo DESC
    ) stands
) ranked
WINDOW held AS (PARTITION BY uscc ORDER BY place);

-- Name and kind as the registry has them; where it has none, as the entity's record that was stated last, of our own
-- before those of other provinces. A revoked registration names nobody, nor does what its province shares no more.
CREATE VIEW entity AS
SELECT s.uscc, COALESCE(r.name, s.name) AS name, COALESCE(r.entity_kind, s.kind) AS kind, s.stated_at,
       CASE WHEN r.uscc IS NULL THEN 'STATEMENT' ELSE 'REGISTRY' END AS name_source,
       r.province, r.since, r.until, r.name_since, r.former_names
FROM (
    SELECT DISTINCT ON (uscc) uscc, subject_name AS name, subject_kind AS kind, stated_at
    FROM record
    WHERE status = 'IN_FORCE' OR kind <> 'REGISTRATION' AND status <> 'WITHDRAWN'
    ORDER BY uscc, province IS NOT DISTINCT FROM (SELECT i.province FROM xinliu.installation i) DESC, stated_at DESC,
             digest_hi DESC, digest_lo DESC
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
    marked_at   timestamptz,  -- when the marker that says so was received
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
    state       text NOT NULL DEFAULT 'OPEN',  -- or SUPERSEDED, DISCARDED, REDRIVEN, OVERRIDDEN
    quarantine_partition integer NOT NULL,
    quarantine_offset    bigint NOT NULL,
    -- Of a row that its department refused itself, where no entity can be read: since when the department may have known of it.
    held_from   timestamptz,
    PRIMARY KEY (topic, topic_id, partition, "offset")
);
CREATE INDEX quarantine_uscc ON quarantine (uscc) WHERE state = 'OPEN';
CREATE INDEX quarantine_department ON quarantine (department) WHERE state = 'OPEN';
CREATE INDEX quarantine_record ON quarantine (record_id) WHERE value IS NOT NULL;
CREATE INDEX quarantine_day ON quarantine (((received_at AT TIME ZONE 'Asia/Shanghai')::date));

-- What departments are measured by (docs/quality.md), counted once a batch in the transaction of its effect. Rows add up:
-- shard is the partition of accepted whose position the writer holds, so that two writers never wait for one another.
CREATE TABLE quality_day (
    day        date NOT NULL,  -- China's, of the receipt
    department text NOT NULL,
    measure    text NOT NULL CHECK (measure IN ('ACCEPTED', 'CORRECTED', 'CONFLICT', 'PUBLISHED', 'VISIBLE')),
    bucket     smallint NOT NULL,  -- PUBLISHED: days since the decision, 61 is more; VISIBLE: place in the bounds
    shard      smallint NOT NULL,
    n          bigint NOT NULL,
    PRIMARY KEY (day, department, measure, bucket, shard)
);

-- What became of quarantine entries that somebody decided about: one row for each entry, decision and outcome. What holds of an
-- entry follows from the set of its rows and from record (streams/quarantine/entries.py); no row is ever changed but for `settled`.
CREATE TABLE quarantine_outcome (
    topic       text NOT NULL,
    topic_id    text NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint NOT NULL,
    decision    text NOT NULL,  -- id of the event on operations
    outcome     text NOT NULL,  -- ACCEPTED, REFUSED, DISCARDED or IMPOSSIBLE
    kind        text NOT NULL,
    decided_by  text NOT NULL,
    decided_at  timestamptz NOT NULL,
    reason      text NOT NULL,
    record_id   uuid,           -- with version: what was forwarded, where the outcome is ACCEPTED
    version     bigint,
    findings    jsonb NOT NULL,
    recorded_at timestamptz NOT NULL,  -- broker time
    quarantine_partition integer NOT NULL,
    quarantine_offset    bigint NOT NULL,
    settled     boolean NOT NULL DEFAULT false,  -- the state of its entry and the department's receipt tell of it
    PRIMARY KEY (topic, topic_id, partition, "offset", decision, outcome)
);
CREATE INDEX quarantine_outcome_unsettled ON quarantine_outcome (topic) WHERE NOT settled;

-- Entries with what releases them: held: this department's record (of this province; of what came by exchange.<province>, that
-- province's record) stands at the entry's version or a later one, whether the entry was let through or a mended version came;
-- discarded: somebody decided that it stays out. `state` follows a moment later (streams/quarantine/settlement.py) and keeps the questions few.
CREATE VIEW quarantine_entry AS
SELECT q.topic, q.topic_id, q.partition, q."offset", q.department, q.received_at, q.uscc, q.domain, q.record_id, q.version,
       q.findings, q.state, q.quarantine_partition, q.quarantine_offset,
       EXISTS (
           SELECT FROM record r
           WHERE r.record_id = CASE WHEN q.record_id ~ '^[0-9a-f]{32}$' THEN q.record_id::uuid END
             AND r.version >= q.version
             AND CASE WHEN starts_with(q.topic, 'records.')
                 THEN r.department = q.department
                      AND r.province = COALESCE((SELECT i.province FROM xinliu.installation i), r.province)
                 ELSE 'exchange.' || r.province = q.topic AND r.status <> 'WITHDRAWN' END
       ) OR EXISTS (
           SELECT FROM quarantine_outcome o
           JOIN record r ON r.record_id = o.record_id AND r.version >= o.version AND r.department = q.department
               AND r.province = COALESCE((SELECT i.province FROM xinliu.installation i), r.province)
           WHERE (o.topic, o.topic_id, o.partition, o."offset") = (q.topic, q.topic_id, q.partition, q."offset")
             AND o.outcome = 'ACCEPTED'
       ) AS held,
       EXISTS (
           SELECT FROM quarantine_outcome o
           WHERE (o.topic, o.topic_id, o.partition, o."offset") = (q.topic, q.topic_id, q.partition, q."offset")
             AND o.outcome = 'DISCARDED'
       ) AS discarded
FROM quarantine q;

-- What must leave, written with the effect it speaks of: kind EXCEPTIONS (receipts of a department), CHANGES (entities),
-- TOMBSTONES (statements that a revocation erases from accepted), RECONCILED (answers to a department's manifests) or
-- EXCHANGE (what the other provinces are to be told, streams/exchange/outgoing/publisher.py).
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('EXCEPTIONS', 'CHANGES', 'TOMBSTONES', 'RECONCILED', 'EXCHANGE')),
    department text,
    payload    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX outbox_exchange ON outbox (id) WHERE kind = 'EXCHANGE';

-- What is held of other provinces, by partition (of accepted, and of their exchange: they are the same) and domain: number and
-- XOR of the digests of all records that are not withdrawn, kept by delta. Held against what their checkpoints say.
CREATE TABLE foreign_digest (
    province  text COLLATE "C" NOT NULL,
    partition smallint NOT NULL,
    domain    text COLLATE "C" NOT NULL,
    records   bigint NOT NULL,
    digest_hi bigint NOT NULL,
    digest_lo bigint NOT NULL,
    PRIMARY KEY (province, partition, domain)
) WITH (fillfactor = 50);

-- The last checkpoint of each partition of another province that this view holds whole: all that came before it is folded.
CREATE TABLE applied_checkpoint (
    province   text COLLATE "C" NOT NULL,
    partition  smallint NOT NULL,
    topic_id   text NOT NULL,
    sequence   bigint NOT NULL,
    "offset"   bigint NOT NULL,  -- in the origin's log
    hash       text NOT NULL,
    made_at    timestamptz NOT NULL,  -- by the origin's clock
    applied_at timestamptz NOT NULL,
    complete   boolean NOT NULL,
    PRIMARY KEY (province, partition)
) WITH (fillfactor = 50);

-- What the last complete checkpoint said of each domain, and what was held there and then.
CREATE TABLE foreign_domain (
    province     text COLLATE "C" NOT NULL,
    partition    smallint NOT NULL,
    domain       text COLLATE "C" NOT NULL,
    sequence     bigint NOT NULL,
    records      bigint NOT NULL,
    digest_hi    bigint NOT NULL,
    digest_lo    bigint NOT NULL,
    held_records bigint NOT NULL,
    held_hi      bigint NOT NULL,
    held_lo      bigint NOT NULL,
    equal        boolean NOT NULL GENERATED ALWAYS AS (
        (records, digest_hi, digest_lo) = (held_records, held_hi, held_lo)
    ) STORED,
    data_as_of   timestamptz,  -- 数据截至, as the origin said with that checkpoint
    made_at      timestamptz NOT NULL,
    checked_at   timestamptz NOT NULL,
    PRIMARY KEY (province, partition, domain)
) WITH (fillfactor = 50);

-- What waits in the quarantines of other provinces, as they say (streams/exchange/carried/pending_entries.py): by entity, the whole of it. The row
-- of uscc '' ends everything of its partition with a lower sequence.
CREATE TABLE foreign_pending (
    province  text COLLATE "C" NOT NULL,
    partition smallint NOT NULL,
    uscc      text COLLATE "C" NOT NULL,
    sequence  bigint NOT NULL,
    at        timestamptz NOT NULL,  -- by the origin's clock
    entries   jsonb NOT NULL,  -- of each: domain, department, open (how many), since (milliseconds since 1970)
    PRIMARY KEY (uscc, province, partition)
);

-- What the audit found in the tables themselves (streams/integrity/table_audit.py): rows that are not what history, or the log, makes
-- of them. Names of fields, never their content; open while mended_at is null.
CREATE TABLE row_difference (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation   text NOT NULL,
    record_id  uuid,
    uscc       text COLLATE "C",
    province   text COLLATE "C",
    department text,
    domain     text COLLATE "C",
    partition  smallint,
    difference text NOT NULL CHECK (difference IN ('MISSING', 'EXTRA', 'CHANGED')),
    fields     text[] NOT NULL DEFAULT '{}',
    found_at   timestamptz NOT NULL,
    mended_at  timestamptz,
    how        text
);
CREATE UNIQUE INDEX row_difference_open
    ON row_difference (relation, record_id, uscc, province, department, domain, partition) NULLS NOT DISTINCT
    WHERE mended_at IS NULL;

-- Sets of another province that differed at a checkpoint, and how often it was asked for them; gone once they are equal.
CREATE TABLE exchange_request (
    province  text COLLATE "C" NOT NULL,
    partition smallint NOT NULL,
    domain    text COLLATE "C" NOT NULL,
    since     timestamptz NOT NULL,
    tries     integer NOT NULL,
    asked_at  timestamptz NOT NULL,
    due_at    timestamptz NOT NULL,
    PRIMARY KEY (province, partition, domain)
);

-- Records in which a set of another province differed from what it shares, each named when its answer came; open while closed_at
-- is null, closed by the first checkpoint that says equal.
CREATE TABLE exchange_difference (
    province   text COLLATE "C" NOT NULL,
    partition  smallint NOT NULL,
    domain     text COLLATE "C" NOT NULL,
    record_id  uuid NOT NULL,
    department text NOT NULL,
    difference text NOT NULL CHECK (difference IN ('MISSING', 'EXTRA', 'OLDER', 'NEWER', 'CONTENT')),
    shared_epoch   bigint,
    shared_version bigint,
    held_epoch     bigint,
    held_version   bigint,
    opened_at  timestamptz NOT NULL,
    closed_at  timestamptz
);
CREATE UNIQUE INDEX exchange_difference_open
    ON exchange_difference (province, partition, domain, record_id, department) WHERE closed_at IS NULL;

-- Up to which of our own checkpoints what a province shares follows from what we had told it (exchange/incoming/reflected.sql), by partition,
-- as our clock has their time; and the next one, with when that province had applied it, by its clock.
CREATE TABLE reflected_checkpoint (
    province  text COLLATE "C" NOT NULL,
    partition smallint NOT NULL,
    made_at   timestamptz,
    next_made_at    timestamptz NOT NULL,
    next_applied_at timestamptz NOT NULL,
    PRIMARY KEY (province, partition)
) WITH (fillfactor = 50);

-- 对账: what departments state of their records (streams/reconciliation/reconciler.py). A row a manifest; body is part 0 until it is compared.
CREATE TABLE manifest (
    department  text NOT NULL,
    domain      text COLLATE "C" NOT NULL,
    kind        text NOT NULL,
    manifest_id text NOT NULL,
    topic_id    text NOT NULL,
    -- Where it stands in the department's topic, by partition: compared once every watermark has passed it.
    fences      jsonb NOT NULL,
    made_at     timestamptz NOT NULL,
    -- Broker time of its first and last copy in accepted: what is known later came after it.
    received_at timestamptz NOT NULL,
    cutoff      timestamptz NOT NULL,
    first_period text,
    last_period text,
    bits        integer NOT NULL,
    body        bytea,
    state       text NOT NULL DEFAULT 'WAITING',  -- WAITING, EQUAL, DIFFERS, REFUSED, SUPERSEDED
    message     text,
    compared_at timestamptz,
    stated      bigint NOT NULL,  -- 归集条数, as the department counts
    stated_hi   bigint NOT NULL,
    stated_lo   bigint NOT NULL,
    held        bigint,           -- 入库条数 in its scope, and what is held beside it
    held_hi     bigint,
    held_lo     bigint,
    outside     bigint,
    -- Buckets that differ and whose lines have not come.
    wanted      integer[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (department, domain, kind, manifest_id)
);

-- Lines that have come and are not compared yet.
CREATE TABLE manifest_lines (
    department  text NOT NULL,
    domain      text COLLATE "C" NOT NULL,
    kind        text NOT NULL,
    manifest_id text NOT NULL,
    part        integer NOT NULL,
    body        bytea NOT NULL,
    PRIMARY KEY (department, domain, kind, manifest_id, part)
);

-- Every difference that was ever named; open while closed_at is null. first_period and last_period: scope of the manifest
-- that opened it; only one that speaks of as much can close it.
CREATE TABLE record_difference (
    department  text NOT NULL,
    domain      text COLLATE "C" NOT NULL,
    kind        text NOT NULL,
    record_id   uuid NOT NULL,
    difference  text NOT NULL,  -- MISSING, REFUSED, OLDER_HERE, NEWER_HERE, CONTENT, UNKNOWN
    stated_version bigint,
    held_version   bigint,
    reasons     jsonb NOT NULL,
    first_period text,
    last_period text,
    manifest_id text NOT NULL,
    opened_at   timestamptz NOT NULL,
    closed_at   timestamptz
);
CREATE UNIQUE INDEX record_difference_open ON record_difference (department, domain, kind, record_id) WHERE closed_at IS NULL;

-- What the relay has told each department: receipts carry only news.
CREATE TABLE receipt_sent (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    as_of       timestamptz,
    PRIMARY KEY (topic, partition)
);

-- What today's rules refuse of what was accepted long ago (streams/view/current_rules.py): not folded into this generation. Texts only as
-- far as they may be kept.
CREATE TABLE replay_refused (
    record_id  text NOT NULL,
    version    bigint NOT NULL,
    digest_hi  bigint NOT NULL,
    digest_lo  bigint NOT NULL,
    uscc       text COLLATE "C",
    department text NOT NULL,
    accepted_partition smallint NOT NULL,
    accepted_offset    bigint NOT NULL,
    findings   jsonb NOT NULL,
    PRIMARY KEY (accepted_partition, accepted_offset)
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
    SELECT min(COALESCE(held_from, received_at)) FILTER (WHERE uscc IS NULL) AS held_since, count(*) AS open_entries
    FROM quarantine q WHERE q.department = s.department AND q.topic = s.topic AND q.state = 'OPEN'
) q ON true;

-- When a source was last heard, in any of its partitions.
CREATE VIEW source_marked AS
SELECT s.department, max(p.marked_at) AS marked_at
FROM source s LEFT JOIN input_progress p USING (topic, topic_id)
GROUP BY s.department;

-- How many of what, by China's day of receipt: the view's counts, and refusals as the quarantine holds them, without those that
-- were let through since: these are accepted.
CREATE VIEW quality_count AS
SELECT day, department, measure, bucket, sum(n)::bigint AS n
FROM quality_day
GROUP BY day, department, measure, bucket
UNION ALL
SELECT (received_at AT TIME ZONE 'Asia/Shanghai')::date, department, 'REFUSED', 0::smallint, count(*)
FROM quarantine
WHERE state NOT IN ('REDRIVEN', 'OVERRIDDEN') AND starts_with(topic, 'records.')
GROUP BY 1, 2;

-- 迟报: first publications by day of receipt and day of the decision, and whether that was too late: beyond the term
-- in working days behind the decision (deadlines.csv, report-penalty: 7). NULL where the calendar does not know the days.
CREATE VIEW quality_lateness AS
SELECT p.day, p.department, p.day - p.bucket AS decided_on, p.n,
       (p.bucket = 61 AND term.working_days IS NOT NULL)
           OR (p.bucket > 0 AND before_receipt.ordinal - decision.ordinal >= term.working_days) AS late
FROM quality_count p
LEFT JOIN xinliu.deadline term ON term.deadline = 'report-penalty' AND term.province = '*'
    AND p.day - p.bucket BETWEEN term.effective_from AND COALESCE(term.effective_to, 'infinity')
LEFT JOIN xinliu.workday before_receipt ON before_receipt.day = p.day - 1
LEFT JOIN xinliu.workday decision ON decision.day = p.day - p.bucket
WHERE p.measure = 'PUBLISHED';

-- Cases with what this generation holds of their records. marked_at: since when the record bears the mark (异议标注) that the case
-- asks for; arrived_at: since when the statement that the answer names is held, or a later one, or none is to be expected any more
-- (WITHDRAWN); registered_in: where the entity was registered on the day it was opened, NULL where that is not known.
CREATE VIEW case_standing AS
SELECT c.case_id, c.lead, c.procedure, c.uscc, c.record_id, c.record_province, c.department, c.state, c.opened_at, c.accepted_at,
       c.forwarded_at, c.answered_at, c.outcome, c.answer_version, c.ended_at, c.events, c.void, c.changed_at,
       r.status AS record_status, r.version AS held_version, r.disputed_since,
       COALESCE(h.marked_at, CASE WHEN r.disputed_since IS NOT NULL THEN r.known_at END) AS marked_at,
       COALESCE(h.arrived_at, CASE
           WHEN r.version > c.answer_version OR (c.answer_version IS NOT NULL AND r.status = 'WITHDRAWN') THEN r.known_at
       END) AS arrived_at,
       COALESCE(g.province, p.province) AS registered_in,
       COALESCE(g.province, p.province, c.lead) = c.lead AS led_rightly
FROM xinliu.case_state c
LEFT JOIN record r ON (r.record_id, r.province, r.department) = (c.record_id, c.record_province, c.department)
LEFT JOIN LATERAL (
    SELECT min(known_at) FILTER (WHERE disputed AND version > c.opened_version) AS marked_at,
           min(known_at) FILTER (WHERE (version, digest_hi, digest_lo)
               = (c.answer_version, c.answer_digest_hi, c.answer_digest_lo)) AS arrived_at
    FROM record_history
    WHERE (record_id, province, department) = (c.record_id, c.record_province, c.department)
) h ON true
LEFT JOIN LATERAL (
    SELECT province
    FROM registration
    WHERE uscc = c.uscc AND since <= (c.opened_at AT TIME ZONE 'Asia/Shanghai')::date
    ORDER BY since DESC, version DESC, digest_hi DESC, digest_lo DESC
    LIMIT 1
) g ON true
LEFT JOIN xinliu.province p ON p.division = substr(c.uscc, 3, 2);
