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

CREATE TABLE xinliu.province (
    province text PRIMARY KEY,
    name_zh  text NOT NULL,
    division text NOT NULL  -- the first two digits of GB/T 2260
);

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
);
CREATE TABLE xinliu.list_period (
    place integer PRIMARY KEY, list text NOT NULL, months integer, early_exit_months integer, early_exit_counts_from text,
    anchor text NOT NULL, effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
);
CREATE TABLE xinliu.report_window (
    place integer PRIMARY KEY, kind text NOT NULL, anchor text NOT NULL, anchor_zh text NOT NULL, max_months integer NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
);
CREATE TABLE xinliu.visibility (
    place integer PRIMARY KEY, decision text NOT NULL, kind text NOT NULL, level text NOT NULL, status text NOT NULL,
    publication text NOT NULL, report_window text NOT NULL, answer text NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
);
CREATE TABLE xinliu.deadline (
    place integer PRIMARY KEY, deadline text NOT NULL, province text NOT NULL, name_zh text NOT NULL,
    working_days integer NOT NULL, counts_from text NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
);

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
);

-- Has been shared: what the other provinces were told last of each of our records, whatever generation told it. In the view's
-- transaction the difference to what should be shared becomes outbox rows (streams/exchange/sharing.py).
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
    made_at   timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What the other provinces were told of our quarantine (streams/exchange/pending.py): entities of which something waits. The row
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
);

-- For which mutual domains the last whole pass of the sweep held (streams/exchange/sweeping.py): all records of theirs that should be
-- shared are. A domain that has just become mutual is vouched for only after the pass that it made.
CREATE TABLE xinliu.swept (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    generation integer NOT NULL,
    domains    text[] NOT NULL,
    swept_at   timestamptz NOT NULL
);
