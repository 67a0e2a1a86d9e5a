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

-- What the events of each case come to, as schemas/cases.py folds them; written in the transaction that adds to them.
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
