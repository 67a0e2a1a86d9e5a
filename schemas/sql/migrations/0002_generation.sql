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

-- 对账: what departments state of their records (streams/reconciling.py). A row a manifest; body is part 0 until it is compared.
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

ALTER TABLE outbox DROP CONSTRAINT IF EXISTS outbox_kind_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('EXCEPTIONS', 'CHANGES', 'RECONCILED'));
