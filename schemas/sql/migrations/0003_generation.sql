-- What generations made before provinces exchanged records lack; every statement may be run again. The files generation.sql and
-- shared.sql hold the newest state, for generations and databases that are made today.
ALTER TABLE record ADD COLUMN IF NOT EXISTS epoch bigint NOT NULL DEFAULT 0;
ALTER TABLE record_history ADD COLUMN IF NOT EXISTS epoch bigint NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS record_registration ON record (uscc) WHERE kind = 'REGISTRATION';
-- Until today a database held one province's records only.
ALTER TABLE credit_view ADD COLUMN IF NOT EXISTS province text COLLATE "C";
UPDATE credit_view SET province = (SELECT province FROM record LIMIT 1) WHERE province IS NULL;
ALTER TABLE credit_view ALTER COLUMN province SET NOT NULL;
ALTER TABLE credit_view DROP CONSTRAINT IF EXISTS credit_view_pkey,
    ADD CONSTRAINT credit_view_pkey PRIMARY KEY (uscc, province, domain);
ALTER TABLE outbox DROP CONSTRAINT IF EXISTS outbox_kind_check,
    ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('EXCEPTIONS', 'CHANGES', 'TOMBSTONES', 'RECONCILED', 'EXCHANGE'));
CREATE INDEX IF NOT EXISTS outbox_exchange ON outbox (id) WHERE kind = 'EXCHANGE';

-- What is held of other provinces, by partition (of accepted, and of their exchange: they are the same) and domain: number and
-- XOR of the digests of all records that are not withdrawn, kept by delta. Held against what their checkpoints say.
CREATE TABLE IF NOT EXISTS foreign_digest (
    province  text COLLATE "C" NOT NULL,
    partition smallint NOT NULL,
    domain    text COLLATE "C" NOT NULL,
    records   bigint NOT NULL,
    digest_hi bigint NOT NULL,
    digest_lo bigint NOT NULL,
    PRIMARY KEY (province, partition, domain)
) WITH (fillfactor = 50);

-- The last checkpoint of each partition of another province that this view holds whole: all that came before it is folded.
CREATE TABLE IF NOT EXISTS applied_checkpoint (
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
CREATE TABLE IF NOT EXISTS foreign_domain (
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
CREATE TABLE IF NOT EXISTS foreign_pending (
    province  text COLLATE "C" NOT NULL,
    partition smallint NOT NULL,
    uscc      text COLLATE "C" NOT NULL,
    sequence  bigint NOT NULL,
    at        timestamptz NOT NULL,  -- by the origin's clock
    entries   jsonb NOT NULL,  -- of each: domain, department, open (how many), since (milliseconds since 1970)
    PRIMARY KEY (uscc, province, partition)
);

-- Up to which of our own checkpoints what a province shares follows from what we had told it (exchange/incoming/reflected.sql), by partition,
-- as our clock has their time; and the next one, with when that province had applied it, by its clock.
CREATE TABLE IF NOT EXISTS reflected_checkpoint (
    province  text COLLATE "C" NOT NULL,
    partition smallint NOT NULL,
    made_at   timestamptz,
    next_made_at    timestamptz NOT NULL,
    next_applied_at timestamptz NOT NULL,
    PRIMARY KEY (province, partition)
) WITH (fillfactor = 50);

-- Views that ask whose a record or a refused message is, since there are other provinces'.
CREATE OR REPLACE VIEW entity AS
SELECT s.uscc, COALESCE(r.name, s.name) AS name, COALESCE(r.entity_kind, s.kind) AS kind, s.stated_at,
       CASE WHEN r.uscc IS NULL THEN 'STATEMENT' ELSE 'REGISTRY' END AS name_source,
       r.province, r.since, r.until, r.name_since, r.former_names
FROM (
    SELECT DISTINCT ON (uscc) uscc, subject_name AS name, subject_kind AS kind, stated_at
    FROM record
    WHERE status = 'IN_FORCE' OR kind <> 'REGISTRATION' AND status <> 'WITHDRAWN'
    ORDER BY uscc, stated_at DESC, digest_hi DESC, digest_lo DESC
) s
LEFT JOIN registration r ON r.uscc = s.uscc AND r.current;

CREATE OR REPLACE VIEW quarantine_entry AS
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

CREATE OR REPLACE VIEW source_freshness AS
SELECT s.department, s.topic,
       CASE WHEN w.told = s.partitions THEN LEAST(w.as_of, q.held_since) END AS data_as_of,
       q.held_since, COALESCE(q.open_entries, 0) AS open_quarantine
FROM source s
LEFT JOIN LATERAL (
    SELECT count(as_of) AS told, min(as_of) AS as_of FROM watermark w WHERE w.topic = s.topic
) w ON true
LEFT JOIN LATERAL (
    SELECT min(received_at) FILTER (WHERE uscc IS NULL) AS held_since, count(*) AS open_entries
    FROM quarantine q WHERE q.department = s.department AND q.topic = s.topic AND q.state = 'OPEN'
) q ON true;

CREATE OR REPLACE VIEW quality_count AS
SELECT day, department, measure, bucket, sum(n)::bigint AS n
FROM quality_day
GROUP BY day, department, measure, bucket
UNION ALL
SELECT (received_at AT TIME ZONE 'Asia/Shanghai')::date, department, 'REFUSED', 0::smallint, count(*)
FROM quarantine
WHERE state NOT IN ('REDRIVEN', 'OVERRIDDEN') AND starts_with(topic, 'records.')
GROUP BY 1, 2;

-- What the audit found in the tables themselves (streams/integrity/table_audit.py): rows that are not what history, or the log, makes
-- of them. Names of fields, never their content; open while mended_at is null.
CREATE TABLE IF NOT EXISTS row_difference (
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
CREATE UNIQUE INDEX IF NOT EXISTS row_difference_open
    ON row_difference (relation, record_id, uscc, province, department, domain, partition) NULLS NOT DISTINCT
    WHERE mended_at IS NULL;

-- Sets of another province that differed at a checkpoint, and how often it was asked for them; gone once they are equal.
CREATE TABLE IF NOT EXISTS exchange_request (
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
CREATE TABLE IF NOT EXISTS exchange_difference (
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
CREATE UNIQUE INDEX IF NOT EXISTS exchange_difference_open
    ON exchange_difference (province, partition, domain, record_id, department) WHERE closed_at IS NULL;

-- Cases with what this generation holds of their records. marked_at: since when the record bears the mark (异议标注) that the case
-- asks for; arrived_at: since when the statement that the answer names is held, or a later one, or none is to be expected any more
-- (WITHDRAWN); registered_in: where the entity was registered on the day it was opened, NULL where that is not known.
CREATE OR REPLACE VIEW case_standing AS
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
