-- What 0001 made before the whole life of a record was told; every statement may be run again. The files generation.sql and
-- shared.sql hold the newest state, for generations and databases that are made today.
ALTER TABLE record ADD COLUMN IF NOT EXISTS disputed_since date;
ALTER TABLE record ADD COLUMN IF NOT EXISTS penalty_level text;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_entity_kind text;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_since date;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_until date;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_name_since date;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_former_names text;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_authority_name text;
ALTER TABLE record ADD COLUMN IF NOT EXISTS registration_remark text;
ALTER TABLE record DROP CONSTRAINT IF EXISTS record_pkey,
    ADD CONSTRAINT record_pkey PRIMARY KEY (record_id, province, department);
ALTER TABLE record_history ADD COLUMN IF NOT EXISTS province text, ADD COLUMN IF NOT EXISTS department text,
    ADD COLUMN IF NOT EXISTS reason text, ADD COLUMN IF NOT EXISTS disputed boolean, ADD COLUMN IF NOT EXISTS removed boolean;
UPDATE record_history h SET province = r.province, department = r.department
FROM record r WHERE r.record_id = h.record_id AND h.department IS NULL;
ALTER TABLE record_history ALTER COLUMN province SET NOT NULL, ALTER COLUMN department SET NOT NULL;
ALTER TABLE outbox DROP CONSTRAINT IF EXISTS outbox_kind_check,
    ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('EXCEPTIONS', 'CHANGES', 'TOMBSTONES', 'RECONCILED'));
CREATE INDEX IF NOT EXISTS quarantine_record ON quarantine (record_id) WHERE value IS NOT NULL;
-- What was revoked before tombstones were written: history holds no content any more, accepted still does.
INSERT INTO outbox (kind, payload)
SELECT 'TOMBSTONES', jsonb_agg(jsonb_build_array(accepted_partition, concat_ws('|',
    replace(record_id::text, '-', ''), version, lpad(to_hex(digest_hi), 16, '0') || lpad(to_hex(digest_lo), 16, '0'))))
FROM (SELECT *, row_number() OVER () / 1000 AS part FROM record_history WHERE statement IS NULL) erased
GROUP BY part;

-- What became of quarantine entries that somebody decided about: one row for each entry, decision and outcome. What holds of an
-- entry follows from the set of its rows and from record (streams/quarantine/entries.py); no row is ever changed but for `settled`.
CREATE TABLE IF NOT EXISTS quarantine_outcome (
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
CREATE INDEX IF NOT EXISTS quarantine_outcome_unsettled ON quarantine_outcome (topic) WHERE NOT settled;

-- Entries with what releases them: held: this department's record stands at the entry's version or a later one, whether the
-- entry was let through or a mended version came; discarded: somebody decided that it stays out. `state` follows a moment
-- later (streams/quarantine/settlement.py) and keeps the questions few.
CREATE OR REPLACE VIEW quarantine_entry AS
SELECT q.topic, q.topic_id, q.partition, q."offset", q.department, q.received_at, q.uscc, q.domain, q.record_id, q.version,
       q.findings, q.state, q.quarantine_partition, q.quarantine_offset,
       EXISTS (
           SELECT FROM record r
           WHERE r.record_id = CASE WHEN q.record_id ~ '^[0-9a-f]{32}$' THEN q.record_id::uuid END
             AND r.version >= q.version AND r.department = q.department
       ) OR EXISTS (
           SELECT FROM quarantine_outcome o
           JOIN record r ON r.record_id = o.record_id AND r.version >= o.version AND r.department = q.department
           WHERE (o.topic, o.topic_id, o.partition, o."offset") = (q.topic, q.topic_id, q.partition, q."offset")
             AND o.outcome = 'ACCEPTED'
       ) AS held,
       EXISTS (
           SELECT FROM quarantine_outcome o
           WHERE (o.topic, o.topic_id, o.partition, o."offset") = (q.topic, q.topic_id, q.partition, q."offset")
             AND o.outcome = 'DISCARDED'
       ) AS discarded
FROM quarantine q;

-- 对账: what departments state of their records (streams/reconciliation/reconciler.py). A row a manifest; body is part 0 until it is compared.
CREATE TABLE IF NOT EXISTS manifest (
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
CREATE TABLE IF NOT EXISTS manifest_lines (
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
CREATE TABLE IF NOT EXISTS record_difference (
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
CREATE UNIQUE INDEX IF NOT EXISTS record_difference_open ON record_difference (department, domain, kind, record_id) WHERE closed_at IS NULL;

ALTER TABLE record_history ADD COLUMN IF NOT EXISTS received_at timestamptz;
ALTER TABLE record_history ADD COLUMN IF NOT EXISTS decided_on date;
ALTER TABLE input_progress ADD COLUMN IF NOT EXISTS marked_at timestamptz;
CREATE INDEX IF NOT EXISTS quarantine_day ON quarantine (((received_at AT TIME ZONE 'Asia/Shanghai')::date));
CREATE TABLE IF NOT EXISTS quality_day (
    day        date NOT NULL,
    department text NOT NULL,
    measure    text NOT NULL CHECK (measure IN ('ACCEPTED', 'CORRECTED', 'CONFLICT', 'PUBLISHED', 'VISIBLE')),
    bucket     smallint NOT NULL,
    shard      smallint NOT NULL,
    n          bigint NOT NULL,
    PRIMARY KEY (day, department, measure, bucket, shard)
);
CREATE OR REPLACE VIEW source_marked AS
SELECT s.department, max(p.marked_at) AS marked_at
FROM source s LEFT JOIN input_progress p USING (topic, topic_id)
GROUP BY s.department;
CREATE OR REPLACE VIEW quality_count AS
SELECT day, department, measure, bucket, sum(n)::bigint AS n
FROM quality_day
GROUP BY day, department, measure, bucket
UNION ALL
SELECT (received_at AT TIME ZONE 'Asia/Shanghai')::date, department, 'REFUSED', 0::smallint, count(*)
FROM quarantine
WHERE state NOT IN ('REDRIVEN', 'OVERRIDDEN')
GROUP BY 1, 2;
CREATE OR REPLACE VIEW quality_lateness AS
SELECT p.day, p.department, p.day - p.bucket AS decided_on, p.n,
       (p.bucket = 61 AND term.working_days IS NOT NULL)
           OR (p.bucket > 0 AND before_receipt.ordinal - decision.ordinal >= term.working_days) AS late
FROM quality_count p
LEFT JOIN xinliu.deadline term ON term.deadline = 'report-penalty' AND term.province = '*'
    AND p.day - p.bucket BETWEEN term.effective_from AND COALESCE(term.effective_to, 'infinity')
LEFT JOIN xinliu.workday before_receipt ON before_receipt.day = p.day - 1
LEFT JOIN xinliu.workday decision ON decision.day = p.day - p.bucket
WHERE p.measure = 'PUBLISHED';

-- Where entities are registered (经营主体登记): one row for each entity and province. The latest since is where it is
-- registered now; of two of one day the higher rank. Should two departments of a province register it, likewise.
CREATE OR REPLACE VIEW registration AS
SELECT record_id, uscc, subject_name AS name, subject_kind, registration_entity_kind AS entity_kind, province,
       registration_since AS since, registration_until AS until, registration_name_since AS name_since,
       registration_former_names AS former_names, registration_authority_name AS authority_name,
       registration_remark AS remark, department, authority, version, digest_hi, digest_lo, stated_at, known_at,
       row_number() OVER (
           PARTITION BY uscc ORDER BY registration_since DESC, version DESC, digest_hi DESC, digest_lo DESC
       ) = 1 AS current,
       false AS contested  -- what it means came with 0011; a new database has the column already
FROM (
    SELECT DISTINCT ON (uscc, province) *
    FROM record
    WHERE kind = 'REGISTRATION' AND status = 'IN_FORCE'
    ORDER BY uscc, province, version DESC, digest_hi DESC, digest_lo DESC
) r;

-- Name and kind as the registry has them; where it has none, as the entity's record that was stated last. A revoked
-- registration names nobody.
CREATE OR REPLACE VIEW entity AS
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
