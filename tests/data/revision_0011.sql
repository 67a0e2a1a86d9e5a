-- Revision 0011 as it was when it was the newest: databases of that age exist. Kept as it was.
-- What all generations share: which generation serves, and the catalogue as the readers see it.
CREATE SCHEMA xinliu;

CREATE TABLE xinliu.generation (
    generation  integer PRIMARY KEY,
    schema_name text NOT NULL UNIQUE,
    -- BUILDING: being filled, nobody reads it; READY: filled, may be compared and promoted; SERVING; RETIRED: served before, may
    -- be rolled back to; DROPPED: its schema is gone, its number is never given again.
    state       text NOT NULL CHECK (state IN ('BUILDING', 'READY', 'SERVING', 'RETIRED', 'DROPPED')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    replay      text,  -- that made it (xinliu.replay); NULL: the first one
    format      integer NOT NULL DEFAULT 1  -- of what its tables hold: schemas/store/generations.py, FORMAT
);

-- What operators replay, one row each: projected from the events on `operations` (streams/replay/plan/ledger.py), so that a restored
-- backup forgets none; `progress` alone is a worker's own note of how far it is, and may be lost.
CREATE TABLE xinliu.replay (
    replay      text PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('REBUILD', 'CORRECT', 'REPUSH', 'REDRIVE')),
    scope       jsonb NOT NULL,  -- what is replayed: streams/replay/plan/scope.py
    reason      text NOT NULL,
    plan        jsonb NOT NULL,  -- the figures that the planner was shown
    planned_by  text NOT NULL,
    planned_at  timestamptz NOT NULL,
    approved_by text,
    approved_at timestamptz,
    state       text NOT NULL CHECK (state IN ('PLANNED', 'APPROVED', 'RUNNING', 'DONE', 'PROMOTED', 'ROLLED_BACK', 'ABANDONED')),
    generation  integer REFERENCES xinliu.generation,  -- that it fills, where it is a REBUILD
    progress    jsonb NOT NULL DEFAULT '{}',
    changed_at  timestamptz NOT NULL
);

-- One row: promoting a generation is one UPDATE of it (DESIGN, section 4). A table of so few rows would never be analysed by itself
-- (the threshold is 50), and one that never was the planner takes for ten pages: it would hand a reader's question about one
-- entity to parallel workers. So is it with all tables that have this threshold.
CREATE TABLE xinliu.serving (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    generation integer NOT NULL REFERENCES xinliu.generation
) WITH (autovacuum_analyze_threshold = 0);

-- The catalogue as readers join it; loaded from schemas/catalogue by the view worker, never edited here.
CREATE TABLE xinliu.domain (
    domain         text COLLATE "C" NOT NULL,
    name_zh        text NOT NULL,
    display_label  text NOT NULL,
    effective_from date NOT NULL,
    effective_to   date,
    PRIMARY KEY (domain, effective_from)
) WITH (autovacuum_analyze_threshold = 0);

-- Which departments a domain's records come from.
CREATE TABLE xinliu.domain_source (
    domain     text COLLATE "C" NOT NULL,
    department text NOT NULL,
    name_zh    text NOT NULL,
    PRIMARY KEY (domain, department)
) WITH (autovacuum_analyze_threshold = 0);

CREATE TABLE xinliu.list (
    list    text PRIMARY KEY,
    name_zh text NOT NULL,
    domain  text COLLATE "C" NOT NULL
) WITH (autovacuum_analyze_threshold = 0);

CREATE TABLE xinliu.province (
    province text PRIMARY KEY,
    name_zh  text NOT NULL,
    division text NOT NULL  -- the first two digits of GB/T 2260
) WITH (autovacuum_analyze_threshold = 0);

-- How often a source is expected to be heard (heartbeats.csv), and after how long without news it counts as 中断; '*' stands
-- for every department without a row of its own. Rows of the past stay: a reading of then is judged by them.
CREATE TABLE xinliu.heartbeat (
    department     text NOT NULL,
    effective_from date NOT NULL,
    effective_to   date,
    expected_every interval NOT NULL,
    silent_after   interval NOT NULL,
    PRIMARY KEY (department, effective_from)
);
-- Until a worker has loaded the catalogue.
INSERT INTO xinliu.heartbeat VALUES ('*', '2023-09-01', NULL, '24 hours', '168 hours');

-- What a source is said to be at a time, by the limits in force on that day in China: 正常, 迟 (later than expected) or 中断 (past
-- its limit, or never heard); exactly at a limit it is still within. since: from when on it is 迟 or 中断. A source that has no
-- limit vouches for nothing.
CREATE FUNCTION xinliu.judge_source(of_department text, vouched_until timestamptz, at_time timestamptz)
RETURNS TABLE (state text, since timestamptz, expected_every interval, silent_after interval)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT s.state,
           vouched_until + CASE s.state WHEN '迟' THEN h.expected_every WHEN '中断' THEN h.silent_after END,
           h.expected_every, h.silent_after
    FROM (SELECT 1) AS one
    LEFT JOIN LATERAL (
        SELECT b.expected_every, b.silent_after
        FROM xinliu.heartbeat b
        WHERE b.department IN (of_department, '*')
          AND (at_time AT TIME ZONE 'Asia/Shanghai')::date BETWEEN b.effective_from AND COALESCE(b.effective_to, 'infinity')
        ORDER BY b.department = '*'
        LIMIT 1
    ) h ON true
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN vouched_until IS NULL OR h.silent_after IS NULL OR vouched_until < at_time - h.silent_after THEN '中断'
            WHEN vouched_until < at_time - h.expected_every THEN '迟'
            ELSE '正常'
        END
    ) AS s (state)
$$;

-- What readers were told of each source, and since when (relay/vouched.sql); of before its first row nothing is known.
CREATE TABLE xinliu.vouched (
    department text NOT NULL,
    noted_at   timestamptz NOT NULL,
    data_as_of timestamptz,
    PRIMARY KEY (department, noted_at)
);

-- What computes with days, as schemas/catalogue has it, line by line (`place` is the order of the file; docs/time.md).
CREATE TABLE xinliu.level (
    place integer PRIMARY KEY, level text NOT NULL, published text NOT NULL, min_months integer NOT NULL,
    max_months integer NOT NULL, repair_after_months integer, counts_from text NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
) WITH (autovacuum_analyze_threshold = 0);
CREATE TABLE xinliu.list_period (
    place integer PRIMARY KEY, list text NOT NULL, months integer, early_exit_months integer, early_exit_counts_from text,
    anchor text NOT NULL, effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
) WITH (autovacuum_analyze_threshold = 0);
CREATE TABLE xinliu.report_window (
    place integer PRIMARY KEY, kind text NOT NULL, anchor text NOT NULL, anchor_zh text NOT NULL, max_months integer NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
) WITH (autovacuum_analyze_threshold = 0);
CREATE TABLE xinliu.visibility (
    place integer PRIMARY KEY, decision text NOT NULL, kind text NOT NULL, level text NOT NULL, status text NOT NULL,
    publication text NOT NULL, report_window text NOT NULL, answer text NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
) WITH (autovacuum_analyze_threshold = 0);
CREATE TABLE xinliu.deadline (
    place integer PRIMARY KEY, deadline text NOT NULL, province text NOT NULL, name_zh text NOT NULL,
    working_days integer NOT NULL, counts_from text NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
) WITH (autovacuum_analyze_threshold = 0);

-- Every day of the years that holidays.csv holds; ordinal counts the working days up to it, so that the difference of two
-- ordinals is the number of working days between two days.
CREATE TABLE xinliu.workday (
    day date PRIMARY KEY, working boolean NOT NULL, why text NOT NULL, ordinal integer NOT NULL
);
CREATE INDEX workday_ordinal ON xinliu.workday (ordinal);

-- Whose database this is; written once, by the first worker.
CREATE TABLE xinliu.installation (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    province  text NOT NULL
);

-- Domains of mutual recognition (互认), as the catalogue has them; loaded with it.
CREATE TABLE xinliu.mutual_domain (
    domain         text COLLATE "C" NOT NULL,
    effective_from date NOT NULL,
    effective_to   date,
    PRIMARY KEY (domain, effective_from)
) WITH (autovacuum_analyze_threshold = 0);

-- Has been shared: what the other provinces were told last of each of our records, whatever generation told it. In the view's
-- transaction the difference to what should be shared becomes outbox rows (streams/exchange/outgoing/sharing.py).
CREATE TABLE xinliu.shared_record (
    record_id  uuid NOT NULL,
    department text NOT NULL,
    partition  smallint NOT NULL,
    epoch      bigint NOT NULL,
    state      text NOT NULL CHECK (state IN ('SHARED', 'WITHDRAWN')),
    kind       text NOT NULL,
    domain     text COLLATE "C" NOT NULL,
    uscc       text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    digest_hi  bigint NOT NULL,
    digest_lo  bigint NOT NULL,
    status     text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (record_id, department)
) WITH (fillfactor = 85);
CREATE INDEX shared_record_set ON xinliu.shared_record (partition, domain) WHERE state = 'SHARED';

-- Number and XOR of the digests of what is shared, kept by delta.
CREATE TABLE xinliu.shared_digest (
    partition smallint NOT NULL,
    domain    text COLLATE "C" NOT NULL,
    records   bigint NOT NULL,
    digest_hi bigint NOT NULL,
    digest_lo bigint NOT NULL,
    PRIMARY KEY (partition, domain)
) WITH (fillfactor = 50);

-- Our own last checkpoints, for readers: what counts is what stands in the topic.
CREATE TABLE xinliu.published_checkpoint (
    partition smallint PRIMARY KEY,
    topic_id  text NOT NULL,
    sequence  bigint NOT NULL,
    "offset"  bigint NOT NULL,
    hash      text NOT NULL,
    made_at   timestamptz NOT NULL,
    incomplete bigint  -- sequence of the last one behind which more was waiting
) WITH (fillfactor = 50);

-- What the other provinces were told of our quarantine (streams/exchange/carried/pending_entries.py): entities of which something waits. The row
-- of uscc '' says up to which sequence a partition has been told.
CREATE TABLE xinliu.shared_pending (
    partition smallint NOT NULL,
    uscc      text COLLATE "C" NOT NULL,
    sequence  bigint NOT NULL,
    entries   jsonb NOT NULL,
    told_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (partition, uscc)
);

-- How long a province may be silent before its part of the 互认版 is 未归集 (silences.csv); '*' stands for every province without
-- a row of its own.
CREATE TABLE xinliu.silence (
    province       text NOT NULL,
    effective_from date NOT NULL,
    effective_to   date,
    silent_after   interval NOT NULL,
    PRIMARY KEY (province, effective_from)
) WITH (autovacuum_analyze_threshold = 0);

-- How long something between provinces may take before it alarms (exchange_limits.csv), in seconds.
CREATE TABLE xinliu.exchange_limit (
    place integer PRIMARY KEY, measure text NOT NULL, province text NOT NULL, name_zh text NOT NULL, seconds integer NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
) WITH (autovacuum_analyze_threshold = 0);
-- Until a worker has loaded the catalogue.
INSERT INTO xinliu.exchange_limit VALUES
    (0, 'status-silent', '*', '状态静默', 30, '2023-09-01', NULL, 'see exchange_limits.csv', 'yes'),
    (1, 'set-differs', '*', '集合不一致', 60, '2023-09-01', NULL, 'see exchange_limits.csv', 'yes');

-- Who was heard on status.<province>, our own topic among them: up to where it has been read here, the last status that was
-- believed, and the last message that was not. told_at is by the clock of who says so, received_at broker time of this cluster.
CREATE TABLE xinliu.peer_heard (
    province    text PRIMARY KEY,
    topic_id    text NOT NULL,
    next_offset bigint NOT NULL,
    told_at     timestamptz,
    received_at timestamptz,
    refusals    bigint NOT NULL DEFAULT 0,
    refused_at  timestamptz,
    refusal     text
) WITH (fillfactor = 50);

-- Up to which checkpoint a province says that it has published.
CREATE TABLE xinliu.peer_published (
    province  text NOT NULL,
    partition smallint NOT NULL,
    sequence  bigint NOT NULL,
    "offset"  bigint NOT NULL,
    made_at   timestamptz NOT NULL,
    PRIMARY KEY (province, partition)
) WITH (fillfactor = 50);

-- Up to which checkpoint of an origin a province says that it has applied what was shared. differs: domains whose digest differs
-- there; * where nothing has been compared yet. differs_since: from when on it was never said to be empty, by our clock.
CREATE TABLE xinliu.peer_status (
    province   text NOT NULL,
    origin     text NOT NULL,
    partition  smallint NOT NULL,
    topic_id   text NOT NULL,
    sequence   bigint NOT NULL,
    "offset"   bigint NOT NULL,
    made_at    timestamptz NOT NULL,  -- by the origin's clock, as all that compares it
    applied_at timestamptz NOT NULL,  -- by the clock of who says so
    behind     bigint NOT NULL,
    differs    text[] NOT NULL,
    differs_since timestamptz,
    told_at    timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (province, origin, partition)
) WITH (fillfactor = 50);

-- What must be acknowledged: a statement without a body (REPAIRED, REVOKED, WITHDRAWN) of what had been shared, and who has to
-- apply it: done when that province says that it holds the checkpoint that closed its run. acknowledged_at is when it applied
-- that checkpoint or a later one, by its clock.
CREATE TABLE xinliu.exchange_duty (
    record_id    uuid NOT NULL,
    department   text NOT NULL,
    epoch        bigint NOT NULL,
    version      bigint NOT NULL,
    status       text NOT NULL,
    province     text NOT NULL,
    uscc         text COLLATE "C" NOT NULL,
    domain       text COLLATE "C" NOT NULL,
    partition    smallint NOT NULL,
    topic_id     text NOT NULL,
    sequence     bigint NOT NULL,
    published_at timestamptz NOT NULL,
    due_at       timestamptz,  -- the first moment that is too late; NULL where the calendar or the term is missing
    acknowledged_at timestamptz,
    told_at      timestamptz,
    received_at  timestamptz,
    PRIMARY KEY (record_id, department, epoch, version, status, province)
);
CREATE INDEX exchange_duty_open ON xinliu.exchange_duty (province, partition, sequence) WHERE acknowledged_at IS NULL;

-- The limit in force on the day of a moment in China; a province's own line goes before that of all.
CREATE FUNCTION xinliu.exchange_seconds(of_measure text, of_province text, at_time timestamptz) RETURNS integer
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT l.seconds
    FROM xinliu.exchange_limit l
    WHERE l.measure = of_measure AND l.province IN (of_province, '*')
      AND (at_time AT TIME ZONE 'Asia/Shanghai')::date BETWEEN l.effective_from AND COALESCE(l.effective_to, 'infinity')
    ORDER BY l.province = '*', l.place
    LIMIT 1
$$;

-- When a province must have applied what was published: the end (exclusive) of the last day of its term in working days
-- (deadlines.csv, exchange-apply), unless exchange_limits.csv says so in seconds.
CREATE FUNCTION xinliu.exchange_due(of_province text, published_at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT COALESCE(
        published_at + make_interval(secs => xinliu.exchange_seconds('exchange-apply', of_province, published_at)),
        (
            SELECT (min(w.day) + 1)::timestamp AT TIME ZONE 'Asia/Shanghai'
            FROM (
                SELECT d.working_days
                FROM xinliu.deadline d
                WHERE d.deadline = 'exchange-apply' AND d.province IN (of_province, '*')
                  AND (published_at AT TIME ZONE 'Asia/Shanghai')::date
                      BETWEEN d.effective_from AND COALESCE(d.effective_to, 'infinity')
                ORDER BY d.province = '*', d.place
                LIMIT 1
            ) term
            JOIN xinliu.workday begun ON begun.day = (published_at AT TIME ZONE 'Asia/Shanghai')::date
            JOIN xinliu.workday w ON w.ordinal = begun.ordinal + term.working_days
        )
    )
$$;

CREATE VIEW xinliu.exchange_duty_state AS
SELECT d.*,
       CASE
           WHEN d.acknowledged_at IS NOT NULL THEN 'ACKNOWLEDGED'
           -- A term that nobody can compute must be seen, not waited for.
           WHEN d.due_at IS NULL OR d.due_at <= now() THEN 'OVERDUE'
           ELSE 'OPEN'
       END AS state
FROM xinliu.exchange_duty d;

-- Who has published what: of ourselves what this database knows, of the others what they say.
CREATE VIEW xinliu.exchange_published AS
SELECT i.province, c.partition, c.topic_id, c.sequence, c."offset", c.made_at
FROM xinliu.published_checkpoint c CROSS JOIN xinliu.installation i
UNION ALL
SELECT p.province, p.partition, NULL, p.sequence, p."offset", p.made_at
FROM xinliu.peer_published p JOIN xinliu.installation i ON i.province <> p.province;

-- What is heard of each province, our own among them. silent: no status that was believed for longer than its limit, by our
-- clock, or never one. stalled: it speaks, but its oldest checkpoint is older than that, by its own clock, or there is none.
CREATE VIEW xinliu.exchange_heard AS
SELECT p.province, p.name_zh, i.province = p.province AS own, h.told_at, h.received_at, l.silent_after,
       EXTRACT(epoch FROM now() - h.received_at)::float8 AS silent_seconds,
       COALESCE(h.received_at < now() - l.silent_after, true) AS silent,
       c.partitions, c.checkpoint_at,
       COALESCE(CASE WHEN i.province = p.province THEN now() ELSE h.told_at END - c.checkpoint_at > l.silent_after, true) AS stalled,
       COALESCE(h.refusals, 0) AS refusals, h.refused_at, h.refusal, p.division
FROM xinliu.province p
CROSS JOIN xinliu.installation i
LEFT JOIN xinliu.peer_heard h ON h.province = p.province
CROSS JOIN LATERAL (
    SELECT make_interval(secs => xinliu.exchange_seconds('status-silent', p.province, now())) AS silent_after
) l
CROSS JOIN LATERAL (
    SELECT count(*) AS partitions, min(c.made_at) AS checkpoint_at
    FROM xinliu.exchange_published c WHERE c.province = p.province
) c;

-- The matrix: for every origin and every other province, how far that province says it has applied what the origin shared. Of one
-- partition, records between two checkpoints are what lies between their offsets, less each checkpoint and the end of its
-- transaction; the seconds between them are by the origin's clock alone. NULL: not known. state is the worst that is so.
CREATE VIEW xinliu.exchange_matrix AS
SELECT cell.*,
       CASE
           WHEN cell.silent THEN 'SILENT'
           WHEN cell.applied < GREATEST(cell.published, 1) THEN 'NOT_APPLIED'
           WHEN cell.differs <> '{}' THEN 'DIFFERS'
           WHEN cell.origin_silent THEN 'ORIGIN_SILENT'
           WHEN cell.lag_records > 0 OR cell.lag_seconds > cell.limit_seconds THEN 'BEHIND'
           ELSE 'EQUAL'
       END AS state
FROM (
    SELECT o.province AS origin, q.province, q.silent, o.silent OR o.stalled AS origin_silent, q.told_at, q.received_at,
           a.published, a.applied,
           CASE WHEN a.applied > 0 AND a.applied = a.published THEN a.lag_records END AS lag_records,
           CASE WHEN a.applied > 0 AND a.applied = a.published THEN a.lag_seconds END AS lag_seconds,
           a.acknowledged_at, a.behind, COALESCE(a.differs, '{}') AS differs, a.differs_since,
           COALESCE(a.differs_since < now() - make_interval(secs => xinliu.exchange_seconds('set-differs', q.province, now())), false)
               AS differs_too_long,
           EXTRACT(epoch FROM o.silent_after)::float8 AS limit_seconds,
           d.open, d.overdue
    FROM xinliu.exchange_heard o
    JOIN xinliu.exchange_heard q ON q.province <> o.province
    CROSS JOIN LATERAL (
        SELECT count(*) AS published, count(s.partition) AS applied,
               sum(GREATEST(0, c."offset" - s."offset" - 2 * (c.sequence - s.sequence)))::bigint AS lag_records,
               max(GREATEST(0, EXTRACT(epoch FROM c.made_at - s.made_at)))::float8 AS lag_seconds,
               max(s.applied_at) AS acknowledged_at, sum(s.behind)::bigint AS behind, min(s.differs_since) AS differs_since,
               (SELECT array_agg(DISTINCT one ORDER BY one)
                FROM xinliu.peer_status every, unnest(every.differs) AS one
                WHERE every.province = q.province AND every.origin = o.province) AS differs
        FROM xinliu.exchange_published c
        LEFT JOIN xinliu.peer_status s
            ON s.province = q.province AND s.origin = o.province AND s.partition = c.partition
            AND s.topic_id = COALESCE(c.topic_id, s.topic_id)
        WHERE c.province = o.province
    ) a
    LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE state = 'OPEN') AS open, count(*) FILTER (WHERE state = 'OVERDUE') AS overdue
        FROM xinliu.exchange_duty_state
        WHERE province = q.province AND acknowledged_at IS NULL
    ) d ON o.own
) cell;
-- Sets of ours that another province holds differently, as it says on its status topic, until they are answered
-- (streams/exchange/sets/answers.py): the digests of what it holds, by bucket, and from which bucket on it waits for an answer.
CREATE TABLE xinliu.exchange_wanted (
    asked_by    text COLLATE "C" NOT NULL,
    partition   smallint NOT NULL,
    domain      text COLLATE "C" NOT NULL,
    bits        smallint NOT NULL,
    digests     bytea NOT NULL,
    next_bucket integer,  -- NULL: answered
    asked_at    timestamptz NOT NULL,
    answered_at timestamptz,
    PRIMARY KEY (asked_by, partition, domain)
);

-- Which partition of `accepted` a code's records stand in: murmur2 as Kafka's clients compute it (schemas/records/partitioning.py),
-- for keys of 18 bytes; NULL for what is no USCC. For audits, which must not believe what a row says of its place.
CREATE OR REPLACE FUNCTION xinliu.partition_of(uscc text, partitions integer) RETURNS smallint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog
AS $$
DECLARE
    m CONSTANT bigint := 1540483477;
    word CONSTANT bigint := 4294967295;
    raw CONSTANT bytea := convert_to(uscc, 'UTF8');
    h bigint := 2538058380 # 18;
    k bigint;
BEGIN
    IF length(raw) <> 18 THEN
        RETURN NULL;
    END IF;
    FOR i IN 0..12 BY 4 LOOP
        k := get_byte(raw, i) | (get_byte(raw, i + 1) << 8) | (get_byte(raw, i + 2) << 16) | (get_byte(raw, i + 3)::bigint << 24);
        k := (k * m) & word;
        k := k # (k >> 24);
        h := ((h * m) & word) # ((k * m) & word);
    END LOOP;
    h := ((h # (get_byte(raw, 16) | (get_byte(raw, 17) << 8))) * m) & word;
    h := ((h # (h >> 13)) * m) & word;
    h := h # (h >> 15);
    RETURN mod(h & 2147483647, partitions);
END
$$;

-- Cases (异议, 更正, 更新, 修复) across provinces: every event that was ever said of one, our own as the topic cases has them, the
-- others' as they arrived. A set that only grows and that no generation computes, so all of them share it (decision 043).
CREATE TABLE xinliu.case_event (
    case_id   text COLLATE "C" NOT NULL,
    event_id  text NOT NULL,
    kind      text NOT NULL,
    province  text NOT NULL,
    said_by   text NOT NULL,
    at        timestamptz NOT NULL,
    procedure text NOT NULL,
    uscc      text COLLATE "C" NOT NULL,
    record_id uuid NOT NULL,
    record_province text NOT NULL,
    department text NOT NULL,
    reason    text NOT NULL,
    outcome   text,
    version   bigint,
    digest    text,
    answer    text,
    step      text,
    due       date,
    working_days integer,
    content   text NOT NULL,  -- digest of its body: of two contents with one id the lower one counts
    recorded_at timestamptz NOT NULL,  -- broker time
    -- Of our own: the Avro body as it stands in cases, its writer's schema, and when the others were told.
    body        bytea,
    fingerprint text,
    shared_at   timestamptz,
    PRIMARY KEY (case_id, province, event_id, content)
);
CREATE INDEX case_event_uscc ON xinliu.case_event (uscc);
CREATE INDEX case_event_unshared ON xinliu.case_event (recorded_at) WHERE shared_at IS NULL AND body IS NOT NULL;

-- What the events of each case come to, as schemas/cases/fold.py folds them; written in the transaction that adds to them.
CREATE TABLE xinliu.case_state (
    case_id   text COLLATE "C" PRIMARY KEY,
    lead      text NOT NULL,
    procedure text NOT NULL,
    uscc      text COLLATE "C" NOT NULL,
    record_id uuid NOT NULL,
    record_province text NOT NULL,
    department text NOT NULL,
    state     text NOT NULL,
    opened_at timestamptz NOT NULL,
    opened_version bigint,  -- of the record that is objected to
    accepted_at timestamptz,
    forwarded_at timestamptz,
    answered_at timestamptz,
    outcome   text,
    answer_version bigint,
    answer_digest_hi bigint,
    answer_digest_lo bigint,
    ended_at  timestamptz,
    events    integer NOT NULL,
    void      integer NOT NULL,  -- events that count for nothing
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX case_state_record ON xinliu.case_state (record_id);
CREATE INDEX case_state_uscc ON xinliu.case_state (uscc);
CREATE INDEX case_state_open ON xinliu.case_state (opened_at) WHERE ended_at IS NULL;

-- How far our own topic cases is projected.
CREATE TABLE xinliu.case_position (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    topic_id    text NOT NULL,
    next_offset bigint NOT NULL
);

-- For which mutual domains the last whole pass of the sweep held (streams/exchange/outgoing/sweep.py): all records of theirs that should be
-- shared are. A domain that has just become mutual is vouched for only after the pass that it made.
CREATE TABLE xinliu.swept (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    generation integer NOT NULL,
    domains    text[] NOT NULL,
    swept_at   timestamptz NOT NULL
);

-- What operators, and workers in their place, have done: one row an event of the topic operations, in its order, each
-- chained to the one before of its topic by SHA-256 (streams/audit/chain.py). A function of the topics alone: nothing
-- in it is of this database's own.
CREATE TABLE xinliu.audit (
    sequence   bigint NOT NULL CHECK (sequence > 0),
    topic_id   text NOT NULL,
    "offset"   bigint NOT NULL,
    event_id   text NOT NULL,
    kind       text NOT NULL,
    department text,
    by         text NOT NULL,
    at         timestamptz NOT NULL,
    reason     text NOT NULL,
    detail     json NOT NULL,  -- kept to the letter: the hash is of its text
    before     json,
    after      json,
    message    text NOT NULL,  -- SHA-256 of the message's value
    previous   text NOT NULL,
    hash       text NOT NULL,
    topic      text NOT NULL DEFAULT 'operations',  -- whose chain it stands in: each topic has one author and one chain
    PRIMARY KEY (topic, sequence),
    UNIQUE (topic_id, "offset")
);
CREATE INDEX audit_at ON xinliu.audit (at);
CREATE INDEX audit_head ON xinliu.audit (sequence) WHERE kind = 'AUDIT_HEAD';
CREATE INDEX audit_settled ON xinliu.audit ((detail ->> 'uscc') COLLATE "C", sequence) WHERE kind = 'REGISTRATION_SETTLED';

CREATE FUNCTION xinliu.audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('xinliu.restoring', true) IS DISTINCT FROM 'yes' THEN
        RAISE EXCEPTION USING MESSAGE = 'xinliu.audit is only added to: ' || TG_OP || ' is refused',
            ERRCODE = 'insufficient_privilege', HINT = 'only `xinliu restore` puts it back, as a whole';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON xinliu.audit
    FOR EACH STATEMENT EXECUTE FUNCTION xinliu.audit_is_append_only();

-- Ends the sessions of readers that have lifted their own limits (schemas/store/limits.py), and says of each which one: a
-- role may SET what bounds its statements, and a worker is no superuser. Its owner is a member of the readers' role for
-- this alone.
CREATE FUNCTION xinliu.end_readers(statement interval, idle interval, whole interval) RETURNS SETOF text
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT session.lifted
    FROM (
        SELECT pid, CASE
            WHEN xact_start < clock_timestamp() - whole THEN 'transaction_timeout'
            WHEN state IN ('active', 'fastpath function call') AND query_start < clock_timestamp() - statement
                THEN 'statement_timeout'
            WHEN starts_with(state, 'idle in transaction') AND state_change < clock_timestamp() - idle
                THEN 'idle_in_transaction_session_timeout'
            END AS lifted
        FROM pg_stat_activity
        WHERE usename = 'xinliu_reader' AND datname = current_database()
    ) session
    -- A CASE, which alone says what is evaluated first.
    WHERE CASE WHEN session.lifted IS NULL THEN false ELSE pg_terminate_backend(session.pid) END;
END;
REVOKE ALL ON FUNCTION xinliu.end_readers(interval, interval, interval) FROM PUBLIC;
CREATE SCHEMA g1;
SET search_path = g1, xinliu, pg_catalog;
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
SET search_path = public;
INSERT INTO xinliu.generation (generation, schema_name, state) VALUES (1, 'g1', 'SERVING');
INSERT INTO xinliu.serving (generation) VALUES (1);
CREATE SCHEMA serving;
CREATE VIEW serving.position AS
 SELECT topic,
    topic_id,
    partition,
    next_offset
   FROM ( SELECT 1 AS generation,
            "position".topic,
            "position".topic_id,
            "position".partition,
            "position".next_offset
           FROM g1."position") g(serving_generation, topic, topic_id, partition, next_offset)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.record AS
 SELECT record_id,
    version,
    digest_hi,
    digest_lo,
    kind,
    status,
    reason,
    uscc,
    subject_name,
    subject_kind,
    province,
    domain,
    department,
    authority,
    stated_at,
    disputed_since,
    penalty_registration_number,
    penalty_organisation_code,
    penalty_tax_number,
    penalty_institution_number,
    penalty_social_organisation_number,
    penalty_legal_representative,
    penalty_document_number,
    penalty_violation_type,
    penalty_facts,
    penalty_basis,
    penalty_categories,
    penalty_content,
    penalty_fine,
    penalty_confiscated,
    penalty_licence,
    penalty_decided_on,
    penalty_valid_until,
    penalty_publish_until,
    penalty_authority_name,
    penalty_source_unit,
    penalty_source_unit_code,
    penalty_remark,
    penalty_level,
    listing_list,
    listing_entry_id,
    listing_grounds,
    listing_basis,
    listing_authority_name,
    listing_legal_representative,
    listing_listed_on,
    listing_valid_until,
    listing_removed_on,
    listing_removal_reason,
    listing_remark,
    registration_entity_kind,
    registration_since,
    registration_until,
    registration_name_since,
    registration_former_names,
    registration_authority_name,
    registration_remark,
    content_key,
    known_at,
    epoch
   FROM ( SELECT 1 AS generation,
            record.record_id,
            record.version,
            record.digest_hi,
            record.digest_lo,
            record.kind,
            record.status,
            record.reason,
            record.uscc,
            record.subject_name,
            record.subject_kind,
            record.province,
            record.domain,
            record.department,
            record.authority,
            record.stated_at,
            record.disputed_since,
            record.penalty_registration_number,
            record.penalty_organisation_code,
            record.penalty_tax_number,
            record.penalty_institution_number,
            record.penalty_social_organisation_number,
            record.penalty_legal_representative,
            record.penalty_document_number,
            record.penalty_violation_type,
            record.penalty_facts,
            record.penalty_basis,
            record.penalty_categories,
            record.penalty_content,
            record.penalty_fine,
            record.penalty_confiscated,
            record.penalty_licence,
            record.penalty_decided_on,
            record.penalty_valid_until,
            record.penalty_publish_until,
            record.penalty_authority_name,
            record.penalty_source_unit,
            record.penalty_source_unit_code,
            record.penalty_remark,
            record.penalty_level,
            record.listing_list,
            record.listing_entry_id,
            record.listing_grounds,
            record.listing_basis,
            record.listing_authority_name,
            record.listing_legal_representative,
            record.listing_listed_on,
            record.listing_valid_until,
            record.listing_removed_on,
            record.listing_removal_reason,
            record.listing_remark,
            record.registration_entity_kind,
            record.registration_since,
            record.registration_until,
            record.registration_name_since,
            record.registration_former_names,
            record.registration_authority_name,
            record.registration_remark,
            record.content_key,
            record.known_at,
            record.epoch
           FROM g1.record) g(serving_generation, record_id, version, digest_hi, digest_lo, kind, status, reason, uscc, subject_name, subject_kind, province, domain, department, authority, stated_at, disputed_since, penalty_registration_number, penalty_organisation_code, penalty_tax_number, penalty_institution_number, penalty_social_organisation_number, penalty_legal_representative, penalty_document_number, penalty_violation_type, penalty_facts, penalty_basis, penalty_categories, penalty_content, penalty_fine, penalty_confiscated, penalty_licence, penalty_decided_on, penalty_valid_until, penalty_publish_until, penalty_authority_name, penalty_source_unit, penalty_source_unit_code, penalty_remark, penalty_level, listing_list, listing_entry_id, listing_grounds, listing_basis, listing_authority_name, listing_legal_representative, listing_listed_on, listing_valid_until, listing_removed_on, listing_removal_reason, listing_remark, registration_entity_kind, registration_since, registration_until, registration_name_since, registration_former_names, registration_authority_name, registration_remark, content_key, known_at, epoch)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.record_history AS
 SELECT record_id,
    version,
    digest_hi,
    digest_lo,
    status,
    uscc,
    known_at,
    accepted_partition,
    accepted_offset,
    writer,
    statement,
    province,
    department,
    reason,
    disputed,
    removed,
    received_at,
    decided_on,
    epoch
   FROM ( SELECT 1 AS generation,
            record_history.record_id,
            record_history.version,
            record_history.digest_hi,
            record_history.digest_lo,
            record_history.status,
            record_history.uscc,
            record_history.known_at,
            record_history.accepted_partition,
            record_history.accepted_offset,
            record_history.writer,
            record_history.statement,
            record_history.province,
            record_history.department,
            record_history.reason,
            record_history.disputed,
            record_history.removed,
            record_history.received_at,
            record_history.decided_on,
            record_history.epoch
           FROM g1.record_history) g(serving_generation, record_id, version, digest_hi, digest_lo, status, uscc, known_at, accepted_partition, accepted_offset, writer, statement, province, department, reason, disputed, removed, received_at, decided_on, epoch)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.writer_schema AS
 SELECT writer,
    fingerprint,
    schema
   FROM ( SELECT 1 AS generation,
            writer_schema.writer,
            writer_schema.fingerprint,
            writer_schema.schema
           FROM g1.writer_schema) g(serving_generation, writer, fingerprint, schema)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.former_entity AS
 SELECT uscc,
    record_id
   FROM ( SELECT 1 AS generation,
            former_entity.uscc,
            former_entity.record_id
           FROM g1.former_entity) g(serving_generation, uscc, record_id)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.credit_view AS
 SELECT uscc,
    province,
    domain,
    records,
    penalties,
    listings,
    digest_hi,
    digest_lo,
    changed_at
   FROM ( SELECT 1 AS generation,
            credit_view.uscc,
            credit_view.province,
            credit_view.domain,
            credit_view.records,
            credit_view.penalties,
            credit_view.listings,
            credit_view.digest_hi,
            credit_view.digest_lo,
            credit_view.changed_at
           FROM g1.credit_view) g(serving_generation, uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.registration AS
 SELECT record_id,
    uscc,
    name,
    subject_kind,
    entity_kind,
    province,
    since,
    until,
    name_since,
    former_names,
    authority_name,
    remark,
    department,
    authority,
    version,
    digest_hi,
    digest_lo,
    stated_at,
    known_at,
    current,
    contested
   FROM ( SELECT 1 AS generation,
            registration.record_id,
            registration.uscc,
            registration.name,
            registration.subject_kind,
            registration.entity_kind,
            registration.province,
            registration.since,
            registration.until,
            registration.name_since,
            registration.former_names,
            registration.authority_name,
            registration.remark,
            registration.department,
            registration.authority,
            registration.version,
            registration.digest_hi,
            registration.digest_lo,
            registration.stated_at,
            registration.known_at,
            registration.current,
            registration.contested
           FROM g1.registration) g(serving_generation, record_id, uscc, name, subject_kind, entity_kind, province, since, until, name_since, former_names, authority_name, remark, department, authority, version, digest_hi, digest_lo, stated_at, known_at, current, contested)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.entity AS
 SELECT uscc,
    name,
    kind,
    stated_at,
    name_source,
    province,
    since,
    until,
    name_since,
    former_names
   FROM ( SELECT 1 AS generation,
            entity.uscc,
            entity.name,
            entity.kind,
            entity.stated_at,
            entity.name_source,
            entity.province,
            entity.since,
            entity.until,
            entity.name_since,
            entity.former_names
           FROM g1.entity) g(serving_generation, uscc, name, kind, stated_at, name_source, province, since, until, name_since, former_names)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.source_freshness AS
 SELECT department,
    topic,
    data_as_of,
    held_since,
    open_quarantine
   FROM ( SELECT 1 AS generation,
            source_freshness.department,
            source_freshness.topic,
            source_freshness.data_as_of,
            source_freshness.held_since,
            source_freshness.open_quarantine
           FROM g1.source_freshness) g(serving_generation, department, topic, data_as_of, held_since, open_quarantine)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.source_marked AS
 SELECT department,
    marked_at
   FROM ( SELECT 1 AS generation,
            source_marked.department,
            source_marked.marked_at
           FROM g1.source_marked) g(serving_generation, department, marked_at)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.quarantine AS
 SELECT topic,
    topic_id,
    partition,
    "offset",
    department,
    received_at,
    uscc,
    domain,
    record_id,
    version,
    findings,
    value,
    state,
    quarantine_partition,
    quarantine_offset,
    held_from
   FROM ( SELECT 1 AS generation,
            quarantine.topic,
            quarantine.topic_id,
            quarantine.partition,
            quarantine."offset",
            quarantine.department,
            quarantine.received_at,
            quarantine.uscc,
            quarantine.domain,
            quarantine.record_id,
            quarantine.version,
            quarantine.findings,
            quarantine.value,
            quarantine.state,
            quarantine.quarantine_partition,
            quarantine.quarantine_offset,
            quarantine.held_from
           FROM g1.quarantine) g(serving_generation, topic, topic_id, partition, "offset", department, received_at, uscc, domain, record_id, version, findings, value, state, quarantine_partition, quarantine_offset, held_from)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.quarantine_entry AS
 SELECT topic,
    topic_id,
    partition,
    "offset",
    department,
    received_at,
    uscc,
    domain,
    record_id,
    version,
    findings,
    state,
    quarantine_partition,
    quarantine_offset,
    held,
    discarded
   FROM ( SELECT 1 AS generation,
            quarantine_entry.topic,
            quarantine_entry.topic_id,
            quarantine_entry.partition,
            quarantine_entry."offset",
            quarantine_entry.department,
            quarantine_entry.received_at,
            quarantine_entry.uscc,
            quarantine_entry.domain,
            quarantine_entry.record_id,
            quarantine_entry.version,
            quarantine_entry.findings,
            quarantine_entry.state,
            quarantine_entry.quarantine_partition,
            quarantine_entry.quarantine_offset,
            quarantine_entry.held,
            quarantine_entry.discarded
           FROM g1.quarantine_entry) g(serving_generation, topic, topic_id, partition, "offset", department, received_at, uscc, domain, record_id, version, findings, state, quarantine_partition, quarantine_offset, held, discarded)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.quarantine_outcome AS
 SELECT topic,
    topic_id,
    partition,
    "offset",
    decision,
    outcome,
    kind,
    decided_by,
    decided_at,
    reason,
    record_id,
    version,
    findings,
    recorded_at,
    quarantine_partition,
    quarantine_offset,
    settled
   FROM ( SELECT 1 AS generation,
            quarantine_outcome.topic,
            quarantine_outcome.topic_id,
            quarantine_outcome.partition,
            quarantine_outcome."offset",
            quarantine_outcome.decision,
            quarantine_outcome.outcome,
            quarantine_outcome.kind,
            quarantine_outcome.decided_by,
            quarantine_outcome.decided_at,
            quarantine_outcome.reason,
            quarantine_outcome.record_id,
            quarantine_outcome.version,
            quarantine_outcome.findings,
            quarantine_outcome.recorded_at,
            quarantine_outcome.quarantine_partition,
            quarantine_outcome.quarantine_offset,
            quarantine_outcome.settled
           FROM g1.quarantine_outcome) g(serving_generation, topic, topic_id, partition, "offset", decision, outcome, kind, decided_by, decided_at, reason, record_id, version, findings, recorded_at, quarantine_partition, quarantine_offset, settled)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.quality_count AS
 SELECT day,
    department,
    measure,
    bucket,
    n
   FROM ( SELECT 1 AS generation,
            quality_count.day,
            quality_count.department,
            quality_count.measure,
            quality_count.bucket,
            quality_count.n
           FROM g1.quality_count) g(serving_generation, day, department, measure, bucket, n)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.quality_lateness AS
 SELECT day,
    department,
    decided_on,
    n,
    late
   FROM ( SELECT 1 AS generation,
            quality_lateness.day,
            quality_lateness.department,
            quality_lateness.decided_on,
            quality_lateness.n,
            quality_lateness.late
           FROM g1.quality_lateness) g(serving_generation, day, department, decided_on, n, late)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.manifest AS
 SELECT department,
    domain,
    kind,
    manifest_id,
    topic_id,
    fences,
    made_at,
    received_at,
    cutoff,
    first_period,
    last_period,
    bits,
    body,
    state,
    message,
    compared_at,
    stated,
    stated_hi,
    stated_lo,
    held,
    held_hi,
    held_lo,
    outside,
    wanted
   FROM ( SELECT 1 AS generation,
            manifest.department,
            manifest.domain,
            manifest.kind,
            manifest.manifest_id,
            manifest.topic_id,
            manifest.fences,
            manifest.made_at,
            manifest.received_at,
            manifest.cutoff,
            manifest.first_period,
            manifest.last_period,
            manifest.bits,
            manifest.body,
            manifest.state,
            manifest.message,
            manifest.compared_at,
            manifest.stated,
            manifest.stated_hi,
            manifest.stated_lo,
            manifest.held,
            manifest.held_hi,
            manifest.held_lo,
            manifest.outside,
            manifest.wanted
           FROM g1.manifest) g(serving_generation, department, domain, kind, manifest_id, topic_id, fences, made_at, received_at, cutoff, first_period, last_period, bits, body, state, message, compared_at, stated, stated_hi, stated_lo, held, held_hi, held_lo, outside, wanted)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.record_difference AS
 SELECT department,
    domain,
    kind,
    record_id,
    difference,
    stated_version,
    held_version,
    reasons,
    first_period,
    last_period,
    manifest_id,
    opened_at,
    closed_at
   FROM ( SELECT 1 AS generation,
            record_difference.department,
            record_difference.domain,
            record_difference.kind,
            record_difference.record_id,
            record_difference.difference,
            record_difference.stated_version,
            record_difference.held_version,
            record_difference.reasons,
            record_difference.first_period,
            record_difference.last_period,
            record_difference.manifest_id,
            record_difference.opened_at,
            record_difference.closed_at
           FROM g1.record_difference) g(serving_generation, department, domain, kind, record_id, difference, stated_version, held_version, reasons, first_period, last_period, manifest_id, opened_at, closed_at)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.row_difference AS
 SELECT id,
    relation,
    record_id,
    uscc,
    province,
    department,
    domain,
    partition,
    difference,
    fields,
    found_at,
    mended_at,
    how
   FROM ( SELECT 1 AS generation,
            row_difference.id,
            row_difference.relation,
            row_difference.record_id,
            row_difference.uscc,
            row_difference.province,
            row_difference.department,
            row_difference.domain,
            row_difference.partition,
            row_difference.difference,
            row_difference.fields,
            row_difference.found_at,
            row_difference.mended_at,
            row_difference.how
           FROM g1.row_difference) g(serving_generation, id, relation, record_id, uscc, province, department, domain, partition, difference, fields, found_at, mended_at, how)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.exchange_difference AS
 SELECT province,
    partition,
    domain,
    record_id,
    department,
    difference,
    shared_epoch,
    shared_version,
    held_epoch,
    held_version,
    opened_at,
    closed_at
   FROM ( SELECT 1 AS generation,
            exchange_difference.province,
            exchange_difference.partition,
            exchange_difference.domain,
            exchange_difference.record_id,
            exchange_difference.department,
            exchange_difference.difference,
            exchange_difference.shared_epoch,
            exchange_difference.shared_version,
            exchange_difference.held_epoch,
            exchange_difference.held_version,
            exchange_difference.opened_at,
            exchange_difference.closed_at
           FROM g1.exchange_difference) g(serving_generation, province, partition, domain, record_id, department, difference, shared_epoch, shared_version, held_epoch, held_version, opened_at, closed_at)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.exchange_request AS
 SELECT province,
    partition,
    domain,
    since,
    tries,
    asked_at,
    due_at
   FROM ( SELECT 1 AS generation,
            exchange_request.province,
            exchange_request.partition,
            exchange_request.domain,
            exchange_request.since,
            exchange_request.tries,
            exchange_request.asked_at,
            exchange_request.due_at
           FROM g1.exchange_request) g(serving_generation, province, partition, domain, since, tries, asked_at, due_at)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.foreign_domain AS
 SELECT province,
    partition,
    domain,
    sequence,
    records,
    digest_hi,
    digest_lo,
    held_records,
    held_hi,
    held_lo,
    equal,
    data_as_of,
    made_at,
    checked_at
   FROM ( SELECT 1 AS generation,
            foreign_domain.province,
            foreign_domain.partition,
            foreign_domain.domain,
            foreign_domain.sequence,
            foreign_domain.records,
            foreign_domain.digest_hi,
            foreign_domain.digest_lo,
            foreign_domain.held_records,
            foreign_domain.held_hi,
            foreign_domain.held_lo,
            foreign_domain.equal,
            foreign_domain.data_as_of,
            foreign_domain.made_at,
            foreign_domain.checked_at
           FROM g1.foreign_domain) g(serving_generation, province, partition, domain, sequence, records, digest_hi, digest_lo, held_records, held_hi, held_lo, equal, data_as_of, made_at, checked_at)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.foreign_pending AS
 SELECT province,
    partition,
    uscc,
    sequence,
    at,
    entries
   FROM ( SELECT 1 AS generation,
            foreign_pending.province,
            foreign_pending.partition,
            foreign_pending.uscc,
            foreign_pending.sequence,
            foreign_pending.at,
            foreign_pending.entries
           FROM g1.foreign_pending) g(serving_generation, province, partition, uscc, sequence, at, entries)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.applied_checkpoint AS
 SELECT province,
    partition,
    topic_id,
    sequence,
    "offset",
    hash,
    made_at,
    applied_at,
    complete
   FROM ( SELECT 1 AS generation,
            applied_checkpoint.province,
            applied_checkpoint.partition,
            applied_checkpoint.topic_id,
            applied_checkpoint.sequence,
            applied_checkpoint."offset",
            applied_checkpoint.hash,
            applied_checkpoint.made_at,
            applied_checkpoint.applied_at,
            applied_checkpoint.complete
           FROM g1.applied_checkpoint) g(serving_generation, province, partition, topic_id, sequence, "offset", hash, made_at, applied_at, complete)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.reflected_checkpoint AS
 SELECT province,
    partition,
    made_at,
    next_made_at,
    next_applied_at
   FROM ( SELECT 1 AS generation,
            reflected_checkpoint.province,
            reflected_checkpoint.partition,
            reflected_checkpoint.made_at,
            reflected_checkpoint.next_made_at,
            reflected_checkpoint.next_applied_at
           FROM g1.reflected_checkpoint) g(serving_generation, province, partition, made_at, next_made_at, next_applied_at)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
CREATE VIEW serving.case_standing AS
 SELECT case_id,
    lead,
    procedure,
    uscc,
    record_id,
    record_province,
    department,
    state,
    opened_at,
    accepted_at,
    forwarded_at,
    answered_at,
    outcome,
    answer_version,
    ended_at,
    events,
    void,
    changed_at,
    record_status,
    held_version,
    disputed_since,
    marked_at,
    arrived_at,
    registered_in,
    led_rightly
   FROM ( SELECT 1 AS generation,
            case_standing.case_id,
            case_standing.lead,
            case_standing.procedure,
            case_standing.uscc,
            case_standing.record_id,
            case_standing.record_province,
            case_standing.department,
            case_standing.state,
            case_standing.opened_at,
            case_standing.accepted_at,
            case_standing.forwarded_at,
            case_standing.answered_at,
            case_standing.outcome,
            case_standing.answer_version,
            case_standing.ended_at,
            case_standing.events,
            case_standing.void,
            case_standing.changed_at,
            case_standing.record_status,
            case_standing.held_version,
            case_standing.disputed_since,
            case_standing.marked_at,
            case_standing.arrived_at,
            case_standing.registered_in,
            case_standing.led_rightly
           FROM g1.case_standing) g(serving_generation, case_id, lead, procedure, uscc, record_id, record_province, department, state, opened_at, accepted_at, forwarded_at, answered_at, outcome, answer_version, ended_at, events, void, changed_at, record_status, held_version, disputed_since, marked_at, arrived_at, registered_in, led_rightly)
  WHERE (serving_generation = ( SELECT
                CASE
                    WHEN (s.generation = 1) THEN s.generation
                    ELSE ((('generation '::text || s.generation) || ' was dropped while this transaction went on: begin it again'::text))::integer
                END AS "case"
           FROM xinliu.serving s));
-- The arithmetic on days for SQL readers (docs/time.md): run before reader.sql, whose views use it. schemas/calendar/periods.py computes
-- the same; tests/integration/test_time_sql.py holds one against the other. Adding months ends at the last day of a shorter month.
CREATE SCHEMA IF NOT EXISTS report;

-- The day in China at a time.
CREATE FUNCTION report.china_day(moment timestamptz) RETURNS date
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT (moment AT TIME ZONE 'Asia/Shanghai')::date;
END;

-- Where a day lies with regard to a period; one without a last day is never over.
CREATE FUNCTION report.phase(first date, last date, day date) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT CASE WHEN day < first THEN 'NOT_YET' WHEN last IS NULL OR day <= last THEN 'DURING' ELSE 'OVER' END;
END;

-- The first line of visibility.csv that fits decides; NULL on days before the first.
CREATE FUNCTION report.decide(
    decision text, kind text, level text, status text, publication text, report_window text, day date
) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT v.answer = 'yes'
    FROM xinliu.visibility v
    WHERE v.decision = decide.decision
      AND v.effective_from <= day AND COALESCE(v.effective_to, 'infinity') >= day
      AND v.kind IN ('*', decide.kind) AND v.level IN ('*', decide.level) AND v.status IN ('*', decide.status)
      AND v.publication IN ('*', decide.publication)
      AND v.report_window IN ('*', COALESCE(decide.report_window, ''))
    ORDER BY v.place
    LIMIT 1;
END;

-- The first day of the longest window (涵盖时间范围) that a report ending on a day may have; NULL before the first rule.
CREATE FUNCTION report.window_from(kind text, day date) RETURNS date
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT (day - make_interval(months => w.max_months))::date
    FROM xinliu.report_window w
    WHERE w.kind = window_from.kind AND w.effective_from <= day AND COALESCE(w.effective_to, 'infinity') >= day;
END;

-- True where a window is no longer than its rule allows; an error that names the rule where it is.
CREATE FUNCTION report.window_holds(window_from date, window_to date) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
DECLARE
    earliest date := GREATEST(report.window_from('PENALTY', window_to), report.window_from('LISTING', window_to));
BEGIN
    IF window_from < earliest THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a report ending on ' || window_to || ' begins on ' || earliest || ' at the earliest, not on ' || window_from,
            DETAIL = (SELECT string_agg(DISTINCT w.source, '; ') FROM xinliu.report_window w
                      WHERE w.effective_from <= window_to AND COALESCE(w.effective_to, 'infinity') >= window_to);
    END IF;
    RETURN true;
END
$$;

-- When a penalty is published and the two decisions on a day; window_from NULL is the longest window ending on that day.
CREATE FUNCTION report.penalty_period(
    decided_on date, valid_until date, publish_until date, level text, status text, window_from date, day date
) RETURNS TABLE (
    publish_from date, publish_to date, publish_basis text, repair_from date, in_force boolean, in_window boolean,
    publishable boolean, reportable boolean
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT decided_on, t.last, t.basis, t.repair, day BETWEEN decided_on AND valid_until, w.counts = 'DURING',
           report.decide('publishable', 'PENALTY', t.level, status, report.phase(decided_on, t.last, day), w.counts, day),
           CASE WHEN w.counts IS NOT NULL THEN
               report.decide('reportable', 'PENALTY', t.level, status, report.phase(decided_on, t.last, day), w.counts, day)
           END
    FROM (
        SELECT COALESCE(penalty_period.level, '未标明') AS level,
               CASE WHEN l.level IS NULL THEN publish_until
                    ELSE GREATEST(LEAST(publish_until, l.longest), l.shortest) END AS last,
               CASE WHEN l.level IS NULL AND publish_until IS NULL THEN 'NO_RULE'
                    WHEN l.level IS NULL OR publish_until BETWEEN l.shortest AND l.longest THEN 'STATED'
                    WHEN publish_until < l.shortest THEN 'LEVEL_MINIMUM'
                    ELSE 'LEVEL_MAXIMUM' END AS basis,
               l.repair
        FROM (VALUES (1)) AS one
        LEFT JOIN LATERAL (
            SELECT x.level,
                   (decided_on + make_interval(months => x.min_months))::date AS shortest,
                   (decided_on + make_interval(months => x.max_months))::date AS longest,
                   (decided_on + make_interval(months => x.repair_after_months))::date AS repair
            FROM xinliu.level x
            WHERE x.level = COALESCE(penalty_period.level, '未标明')
              AND x.effective_from <= day AND COALESCE(x.effective_to, 'infinity') >= day
        ) l ON true
    ) t
    CROSS JOIN LATERAL (
        SELECT CASE WHEN b.first IS NULL THEN NULL
                    WHEN decided_on > day THEN 'NOT_YET'
                    WHEN decided_on < b.first THEN 'OVER'
                    ELSE 'DURING' END AS counts
        FROM (SELECT COALESCE(penalty_period.window_from, report.window_from('PENALTY', day)) AS first) b
    ) w;
END;

-- The same for a list entry.
CREATE FUNCTION report.listing_period(
    list text, listed_on date, valid_until date, removed_on date, status text, window_from date, day date
) RETURNS TABLE (
    publish_from date, publish_to date, publish_basis text, repair_from date, in_force boolean, in_window boolean,
    publishable boolean, reportable boolean
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT listed_on, t.last, t.basis, t.early,
           listed_on <= day AND COALESCE(day <= valid_until, true) AND COALESCE(day < removed_on, true),
           w.counts = 'DURING',
           report.decide('publishable', 'LISTING', '', status, report.phase(listed_on, t.last, day), w.counts, day),
           CASE WHEN w.counts IS NOT NULL THEN
               report.decide('reportable', 'LISTING', '', status, report.phase(listed_on, t.last, day), w.counts, day)
           END
    FROM (
        SELECT CASE WHEN removed_on <= COALESCE(valid_until, p.term, 'infinity') THEN removed_on - 1
                    ELSE COALESCE(valid_until, p.term) END AS last,
               CASE WHEN removed_on <= COALESCE(valid_until, p.term, 'infinity') THEN 'REMOVED'
                    WHEN valid_until IS NOT NULL THEN 'STATED'
                    WHEN p.term IS NOT NULL THEN 'LIST_PERIOD'
                    ELSE 'NO_TERM' END AS basis,
               p.early
        FROM (VALUES (1)) AS one
        LEFT JOIN LATERAL (
            SELECT (listed_on + make_interval(months => x.months))::date AS term,
                   CASE WHEN x.early_exit_counts_from = 'listed_on' THEN
                       (listed_on + make_interval(months => x.early_exit_months))::date
                   END AS early
            FROM xinliu.list_period x
            WHERE x.list = listing_period.list
              AND x.effective_from <= day AND COALESCE(x.effective_to, 'infinity') >= day
        ) p ON true
    ) t
    CROSS JOIN LATERAL (
        SELECT CASE WHEN b.first IS NULL THEN NULL
                    WHEN listed_on > day THEN 'NOT_YET'
                    WHEN COALESCE(removed_on, 'infinity') < b.first THEN 'OVER'
                    ELSE 'DURING' END AS counts
        FROM (SELECT COALESCE(listing_period.window_from, report.window_from('LISTING', day)) AS first) b
    ) w;
END;

-- The working day on which a term ends that counts from a day; NULL where the calendar does not hold it.
CREATE FUNCTION report.add_workdays(day date, working_days integer) RETURNS date
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT min(e.day)
    FROM xinliu.workday b JOIN xinliu.workday e ON e.ordinal = b.ordinal + working_days
    WHERE b.day = add_workdays.day AND working_days >= 1;
END;

-- How many working days lie after a day, up to another, that one included; NULL where the calendar does not hold both.
CREATE FUNCTION report.workdays_between(day date, until date) RETURNS integer
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT e.ordinal - b.ordinal FROM xinliu.workday b, xinliu.workday e
    WHERE b.day = workdays_between.day AND e.day = until;
END;

-- How many working days a term has in a province on a day; its own line goes before that of all; NULL where there is none.
CREATE FUNCTION report.deadline_days(deadline text, province text, day date) RETURNS integer
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT d.working_days
    FROM xinliu.deadline d
    WHERE d.deadline = deadline_days.deadline AND d.province IN ('*', deadline_days.province)
      AND d.effective_from <= day AND COALESCE(d.effective_to, 'infinity') >= day
    ORDER BY d.province = '*'
    LIMIT 1;
END;
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
-- Periods and decisions beside report.penalty and report.listing: run after reader.sql (docs/time.md).

-- One entity's penalties on a day; window_from NULL is the longest window that may end on it.
CREATE FUNCTION report.penalties_on(entity text, day date, window_from date DEFAULT NULL)
RETURNS TABLE (
    record_id uuid, uscc text, domain text, publish_from date, publish_to date, publish_basis text, repair_from date,
    in_force boolean, in_window boolean, publishable boolean, reportable boolean
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT r.record_id, r.uscc, r.domain, t.*
    FROM report.penalty r
    CROSS JOIN LATERAL report.penalty_period(
        r.decided_on, r.valid_until, r.publish_until, r.level, 'IN_FORCE', penalties_on.window_from, day
    ) t
    WHERE r.uscc = entity;
END;

-- One entity's list entries on a day.
CREATE FUNCTION report.listings_on(entity text, day date, window_from date DEFAULT NULL)
RETURNS TABLE (
    record_id uuid, uscc text, domain text, publish_from date, publish_to date, publish_basis text, repair_from date,
    in_force boolean, in_window boolean, publishable boolean, reportable boolean
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT r.record_id, r.uscc, r.domain, t.*
    FROM report.listing r
    CROSS JOIN LATERAL report.listing_period(
        r.list, r.listed_on, r.valid_until, r.removed_on, 'IN_FORCE', listings_on.window_from, day
    ) t
    WHERE r.uscc = entity;
END;

-- All penalties and list entries as of today in China.
CREATE VIEW report.penalty_today AS
SELECT r.record_id, r.uscc, r.domain, d.day, t.*
FROM report.penalty r
CROSS JOIN (SELECT report.china_day(now()) AS day) d
CROSS JOIN LATERAL report.penalty_period(
    r.decided_on, r.valid_until, r.publish_until, r.level, 'IN_FORCE', NULL, d.day
) t;

CREATE VIEW report.listing_today AS
SELECT r.record_id, r.uscc, r.domain, d.day, t.*
FROM report.listing r
CROSS JOIN (SELECT report.china_day(now()) AS day) d
CROSS JOIN LATERAL report.listing_period(
    r.list, r.listed_on, r.valid_until, r.removed_on, 'IN_FORCE', NULL, d.day
) t;
-- 数据对账 (docs/reconciliation.md): the newest manifest of each department, domain and kind of record, and the differences.
CREATE VIEW report.record_difference AS
SELECT department, domain, kind, record_id, difference,
       CASE difference
           WHEN 'MISSING' THEN '漏报' WHEN 'REFUSED' THEN '未入库' WHEN 'CONTENT' THEN '错报'
           WHEN 'OLDER_HERE' THEN '平台版本较旧' WHEN 'NEWER_HERE' THEN '平台版本较新' ELSE '部门未列'
       END AS difference_zh,
       stated_version, held_version, reasons, manifest_id, opened_at, closed_at
FROM serving.record_difference;

-- stated: 归集条数 as the department counts, held: 入库条数 in the manifest's months, outside: beside them. wanted: buckets
-- (of about 64 records) that differ and whose records nobody has named yet. equal: count and set digest.
CREATE VIEW report.reconciliation AS
SELECT m.department, m.domain, m.kind, m.manifest_id, m.state, m.message, m.made_at, m.received_at, m.compared_at,
       m.first_period, m.last_period, m.stated, m.held, m.outside, cardinality(m.wanted) AS wanted,
       (m.stated, m.stated_hi, m.stated_lo) IS NOT DISTINCT FROM (m.held, m.held_hi, m.held_lo) AS equal,
       d.missing, d.content, d.refused, d.older_here, d.newer_here, d.unknown, d.open_since, d.last_closed
FROM (
    SELECT DISTINCT ON (department, domain, kind) *
    FROM serving.manifest
    ORDER BY department, domain, kind, received_at DESC
) m
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE closed_at IS NULL AND difference = 'MISSING') AS missing,
           count(*) FILTER (WHERE closed_at IS NULL AND difference = 'CONTENT') AS content,
           count(*) FILTER (WHERE closed_at IS NULL AND difference = 'REFUSED') AS refused,
           count(*) FILTER (WHERE closed_at IS NULL AND difference = 'OLDER_HERE') AS older_here,
           count(*) FILTER (WHERE closed_at IS NULL AND difference = 'NEWER_HERE') AS newer_here,
           count(*) FILTER (WHERE closed_at IS NULL AND difference = 'UNKNOWN') AS unknown,
           min(opened_at) FILTER (WHERE closed_at IS NULL) AS open_since, max(closed_at) AS last_closed
    FROM serving.record_difference d
    WHERE d.department = m.department AND d.domain = m.domain AND d.kind = m.kind
) d ON true;
-- What departments are measured by (docs/quality.md). Loaded behind reader.sql.

-- How many of what, by China's day of receipt.
CREATE VIEW report.quality_count AS
SELECT day, department, measure, bucket, n FROM serving.quality_count;

-- First publications by day of receipt and of decision, and whether that was late (迟报); NULL: the calendar does not know.
CREATE VIEW report.quality_lateness AS
SELECT day, department, decided_on, n, late FROM serving.quality_lateness;

-- The indicators by department and period ('day' or 'month', of receipt) between two days, both included. Rates are parts of
-- 1, NULL where there is nothing to divide by; times to visible are seconds: the upper bound of the bucket.
CREATE FUNCTION report.quality_by(period text, first_day date, last_day date)
RETURNS TABLE (
    department text, period_from date, received bigint, accepted bigint, refused bigint, compliance_rate numeric,
    published bigint, late bigint, not_judged bigint, late_rate numeric, corrected bigint, conflicts bigint,
    visible_p50 double precision, visible_p99 double precision
)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    WITH counts AS (
        SELECT c.department, date_trunc(period, c.day)::date AS since, c.measure, c.bucket, sum(c.n) AS n
        FROM report.quality_count c
        WHERE c.day BETWEEN first_day AND last_day
        GROUP BY 1, 2, 3, 4
    ), sums AS (
        SELECT c.department, c.since,
               COALESCE(sum(n) FILTER (WHERE measure = 'ACCEPTED'), 0)::bigint AS accepted,
               COALESCE(sum(n) FILTER (WHERE measure = 'REFUSED'), 0)::bigint AS refused,
               COALESCE(sum(n) FILTER (WHERE measure = 'CORRECTED'), 0)::bigint AS corrected,
               COALESCE(sum(n) FILTER (WHERE measure = 'CONFLICT'), 0)::bigint AS conflicts
        FROM counts c
        GROUP BY 1, 2
    ), lateness AS (
        SELECT l.department, date_trunc(period, l.day)::date AS since, sum(n)::bigint AS published,
               COALESCE(sum(n) FILTER (WHERE l.late), 0)::bigint AS late,
               COALESCE(sum(n) FILTER (WHERE l.late IS NULL), 0)::bigint AS not_judged
        FROM report.quality_lateness l
        WHERE l.day BETWEEN first_day AND last_day
        GROUP BY 1, 2
    ), cumulative AS (
        SELECT c.department, c.since, c.bucket, sum(n) OVER (PARTITION BY c.department, c.since ORDER BY c.bucket) AS up_to,
               sum(n) OVER (PARTITION BY c.department, c.since) AS total
        FROM counts c
        WHERE c.measure = 'VISIBLE'
    ), visible AS (
        SELECT v.department, v.since, min(v.bucket) FILTER (WHERE up_to >= 0.5 * total) AS p50,
               min(v.bucket) FILTER (WHERE up_to >= 0.99 * total) AS p99
        FROM cumulative v
        GROUP BY 1, 2
    ), bounds AS (
        SELECT ARRAY[0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86400, 'infinity']::float8[] AS of_bucket
    )
    SELECT s.department, s.since, s.accepted + s.refused, s.accepted, s.refused,
           round(s.accepted::numeric / NULLIF(s.accepted + s.refused, 0), 4),
           COALESCE(l.published, 0), COALESCE(l.late, 0), COALESCE(l.not_judged, 0),
           round(l.late::numeric / NULLIF(l.published - l.not_judged, 0), 4),
           s.corrected, s.conflicts, b.of_bucket[v.p50 + 1], b.of_bucket[v.p99 + 1]
    FROM sums s
    CROSS JOIN bounds b
    LEFT JOIN lateness l USING (department, since)
    LEFT JOIN visible v USING (department, since)
    ORDER BY s.department, s.since
$$;

CREATE VIEW report.quality AS SELECT * FROM report.quality_by('day', '-infinity', 'infinity');
CREATE VIEW report.quality_month AS SELECT * FROM report.quality_by('month', '-infinity', 'infinity');
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
-- How far the provinces have applied what the others share (docs/exchange.md), as they say themselves; of no generation.
CREATE VIEW report.exchange_heard AS SELECT * FROM xinliu.exchange_heard;

CREATE VIEW report.exchange_published AS SELECT * FROM xinliu.exchange_published;

CREATE VIEW report.exchange_matrix AS SELECT * FROM xinliu.exchange_matrix;

-- Repairs, revocations and withdrawals that others must apply, and when each did: state OPEN, OVERDUE or ACKNOWLEDGED.
CREATE VIEW report.exchange_duty AS SELECT * FROM xinliu.exchange_duty_state;
-- What the audit found in the tables themselves (docs/exchange.md): rows that were not what history, or the log, makes of them.
CREATE VIEW report.row_difference AS
SELECT relation, record_id, uscc, province, department, domain, partition, difference,
       CASE difference WHEN 'MISSING' THEN '缺失' WHEN 'EXTRA' THEN '多出' ELSE '被改' END AS difference_zh,
       fields, found_at, mended_at, how,
       CASE how WHEN 'HISTORY' THEN '依历史恢复' WHEN 'LOG' THEN '依日志恢复' WHEN 'ROWS' THEN '重新汇总' END AS how_zh
FROM serving.row_difference;

-- Records in which what was held of another province differed from what it shares.
CREATE VIEW report.exchange_difference AS
SELECT province, partition, domain, record_id, department, difference,
       CASE difference
           WHEN 'MISSING' THEN '缺失' WHEN 'EXTRA' THEN '多出' WHEN 'OLDER' THEN '版本较旧' WHEN 'NEWER' THEN '版本较新' ELSE '内容不一'
       END AS difference_zh,
       shared_epoch, shared_version, held_epoch, held_version, opened_at, closed_at
FROM serving.exchange_difference;

-- Sets of other provinces that differed at their last checkpoint, and how often they have been asked for.
CREATE VIEW report.exchange_unequal AS
SELECT f.province, f.partition, f.domain, f.records, f.held_records, f.made_at, f.checked_at, r.since, COALESCE(r.tries, 0) AS tries
FROM serving.foreign_domain f LEFT JOIN serving.exchange_request r USING (province, partition, domain)
WHERE NOT f.equal;
-- Cases (异议, 更正, 更新, 修复) across provinces, for readers (docs/cases.md).

-- What each case has come to, and what is held of its record.
CREATE VIEW report.case_standing AS
SELECT case_id, lead, procedure, uscc, record_id, record_province, department, state, opened_at, accepted_at, forwarded_at,
       answered_at, outcome, answer_version, ended_at, record_status, held_version, disputed_since, marked_at, arrived_at,
       registered_in, led_rightly
FROM serving.case_standing;

-- Every event, for what was known at an earlier time.
CREATE VIEW report.case_event AS
SELECT case_id, event_id, kind, province, said_by, at, procedure, uscc, record_id, record_province, department, reason, outcome,
       version, digest, answer, step, due, working_days, recorded_at
FROM xinliu.case_event;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'xinliu_reader') THEN
        GRANT SELECT ON report.case_standing, report.case_event TO xinliu_reader;
    END IF;
END
$$;
CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO public.alembic_version VALUES ('0011');
