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
-- transaction the difference to what should be shared becomes outbox rows (streams/exchange/sharing.py).
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
    made_at   timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What the other provinces were told of our quarantine (streams/exchange/pending.py): entities of which something waits. The row
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

-- For which mutual domains the last whole pass of the sweep held (streams/exchange/sweeping.py): all records of theirs that should be
-- shared are. A domain that has just become mutual is vouched for only after the pass that it made.
CREATE TABLE IF NOT EXISTS xinliu.swept (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    generation integer NOT NULL,
    domains    text[] NOT NULL,
    swept_at   timestamptz NOT NULL
);
