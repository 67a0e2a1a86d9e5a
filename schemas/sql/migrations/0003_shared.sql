-- What databases made before provinces exchanged records lack; every statement may be run again.
-- Whose database this is; written once, by the first worker.
CREATE TABLE IF NOT EXISTS xinliu.installation (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    province  text NOT NULL
);

-- Domains of mutual recognition (互认), as the catalogue has them; loaded with it.
CREATE TABLE IF NOT EXISTS xinliu.mutual_domain (
    domain         text COLLATE "C" NOT NULL,
    effective_from date NOT NULL,
    effective_to   date,
    PRIMARY KEY (domain, effective_from)
);

-- Has been shared: what the other provinces were told last of each of our records, whatever generation told it. In the view's
-- transaction the difference to what should be shared becomes outbox rows (streams/exchange/outgoing/sharing.py).
CREATE TABLE IF NOT EXISTS xinliu.shared_record (
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
CREATE INDEX IF NOT EXISTS shared_record_set ON xinliu.shared_record (partition, domain) WHERE state = 'SHARED';

-- Number and XOR of the digests of what is shared, kept by delta.
CREATE TABLE IF NOT EXISTS xinliu.shared_digest (
    partition smallint NOT NULL,
    domain    text COLLATE "C" NOT NULL,
    records   bigint NOT NULL,
    digest_hi bigint NOT NULL,
    digest_lo bigint NOT NULL,
    PRIMARY KEY (partition, domain)
) WITH (fillfactor = 50);

-- Our own last checkpoints, for readers: what counts is what stands in the topic.
CREATE TABLE IF NOT EXISTS xinliu.published_checkpoint (
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
CREATE TABLE IF NOT EXISTS xinliu.shared_pending (
    partition smallint NOT NULL,
    uscc      text COLLATE "C" NOT NULL,
    sequence  bigint NOT NULL,
    entries   jsonb NOT NULL,
    told_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (partition, uscc)
);

-- How long a province may be silent before its part of the 互认版 is 未归集 (silences.csv); '*' stands for every province without
-- a row of its own.
CREATE TABLE IF NOT EXISTS xinliu.silence (
    province       text NOT NULL,
    effective_from date NOT NULL,
    effective_to   date,
    silent_after   interval NOT NULL,
    PRIMARY KEY (province, effective_from)
);

-- How long something between provinces may take before it alarms (exchange_limits.csv), in seconds.
CREATE TABLE IF NOT EXISTS xinliu.exchange_limit (
    place integer PRIMARY KEY, measure text NOT NULL, province text NOT NULL, name_zh text NOT NULL, seconds integer NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
);
-- Until a worker has loaded the catalogue.
INSERT INTO xinliu.exchange_limit VALUES
    (0, 'status-silent', '*', '状态静默', 30, '2023-09-01', NULL, 'see exchange_limits.csv', 'yes'),
    (1, 'set-differs', '*', '集合不一致', 60, '2023-09-01', NULL, 'see exchange_limits.csv', 'yes')
    ON CONFLICT DO NOTHING;

-- Who was heard on status.<province>, our own topic among them: up to where it has been read here, the last status that was
-- believed, and the last message that was not. told_at is by the clock of who says so, received_at broker time of this cluster.
CREATE TABLE IF NOT EXISTS xinliu.peer_heard (
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
CREATE TABLE IF NOT EXISTS xinliu.peer_published (
    province  text NOT NULL,
    partition smallint NOT NULL,
    sequence  bigint NOT NULL,
    "offset"  bigint NOT NULL,
    made_at   timestamptz NOT NULL,
    PRIMARY KEY (province, partition)
) WITH (fillfactor = 50);

-- Up to which checkpoint of an origin a province says that it has applied what was shared. differs: domains whose digest differs
-- there; * where nothing has been compared yet. differs_since: from when on it was never said to be empty, by our clock.
CREATE TABLE IF NOT EXISTS xinliu.peer_status (
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
CREATE TABLE IF NOT EXISTS xinliu.exchange_duty (
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
CREATE INDEX IF NOT EXISTS exchange_duty_open ON xinliu.exchange_duty (province, partition, sequence) WHERE acknowledged_at IS NULL;

-- The limit in force on the day of a moment in China; a province's own line goes before that of all.
CREATE OR REPLACE FUNCTION xinliu.exchange_seconds(of_measure text, of_province text, at_time timestamptz) RETURNS integer
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
CREATE OR REPLACE FUNCTION xinliu.exchange_due(of_province text, published_at timestamptz) RETURNS timestamptz
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

CREATE OR REPLACE VIEW xinliu.exchange_duty_state AS
SELECT d.*,
       CASE
           WHEN d.acknowledged_at IS NOT NULL THEN 'ACKNOWLEDGED'
           -- A term that nobody can compute must be seen, not waited for.
           WHEN d.due_at IS NULL OR d.due_at <= now() THEN 'OVERDUE'
           ELSE 'OPEN'
       END AS state
FROM xinliu.exchange_duty d;

-- Who has published what: of ourselves what this database knows, of the others what they say.
CREATE OR REPLACE VIEW xinliu.exchange_published AS
SELECT i.province, c.partition, c.topic_id, c.sequence, c."offset", c.made_at
FROM xinliu.published_checkpoint c CROSS JOIN xinliu.installation i
UNION ALL
SELECT p.province, p.partition, NULL, p.sequence, p."offset", p.made_at
FROM xinliu.peer_published p JOIN xinliu.installation i ON i.province <> p.province;

-- What is heard of each province, our own among them. silent: no status that was believed for longer than its limit, by our
-- clock, or never one. stalled: it speaks, but its oldest checkpoint is older than that, by its own clock, or there is none.
CREATE OR REPLACE VIEW xinliu.exchange_heard AS
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
CREATE OR REPLACE VIEW xinliu.exchange_matrix AS
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
CREATE TABLE IF NOT EXISTS xinliu.exchange_wanted (
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
CREATE TABLE IF NOT EXISTS xinliu.case_event (
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
CREATE INDEX IF NOT EXISTS case_event_uscc ON xinliu.case_event (uscc);
CREATE INDEX IF NOT EXISTS case_event_unshared ON xinliu.case_event (recorded_at) WHERE shared_at IS NULL AND body IS NOT NULL;

-- What the events of each case come to, as schemas/cases/fold.py folds them; written in the transaction that adds to them.
CREATE TABLE IF NOT EXISTS xinliu.case_state (
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
CREATE INDEX IF NOT EXISTS case_state_record ON xinliu.case_state (record_id);
CREATE INDEX IF NOT EXISTS case_state_uscc ON xinliu.case_state (uscc);
CREATE INDEX IF NOT EXISTS case_state_open ON xinliu.case_state (opened_at) WHERE ended_at IS NULL;

-- How far our own topic cases is projected.
CREATE TABLE IF NOT EXISTS xinliu.case_position (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    topic_id    text NOT NULL,
    next_offset bigint NOT NULL
);

-- For which mutual domains the last whole pass of the sweep held (streams/exchange/outgoing/sweep.py): all records of theirs that should be
-- shared are. A domain that has just become mutual is vouched for only after the pass that it made.
CREATE TABLE IF NOT EXISTS xinliu.swept (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    generation integer NOT NULL,
    domains    text[] NOT NULL,
    swept_at   timestamptz NOT NULL
);
