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

-- What waits in the quarantines of other provinces, as they say (streams/exchange/pending.py): by entity, the whole of it. The row
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
