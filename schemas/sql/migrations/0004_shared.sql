-- What databases made before operators could replay lack; every statement may be run again.
ALTER TABLE xinliu.generation DROP CONSTRAINT IF EXISTS generation_state_check;
ALTER TABLE xinliu.generation ADD CONSTRAINT generation_state_check
    CHECK (state IN ('BUILDING', 'READY', 'SERVING', 'RETIRED', 'DROPPED'));
ALTER TABLE xinliu.generation ADD COLUMN IF NOT EXISTS replay text;
ALTER TABLE xinliu.generation ADD COLUMN IF NOT EXISTS format integer NOT NULL DEFAULT 1;

CREATE TABLE IF NOT EXISTS xinliu.replay (
    replay      text PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('REBUILD', 'CORRECT', 'REPUSH', 'REDRIVE')),
    scope       jsonb NOT NULL,
    reason      text NOT NULL,
    plan        jsonb NOT NULL,
    planned_by  text NOT NULL,
    planned_at  timestamptz NOT NULL,
    approved_by text,
    approved_at timestamptz,
    state       text NOT NULL CHECK (state IN ('PLANNED', 'APPROVED', 'RUNNING', 'DONE', 'PROMOTED', 'ROLLED_BACK', 'ABANDONED')),
    generation  integer REFERENCES xinliu.generation,
    progress    jsonb NOT NULL DEFAULT '{}',
    changed_at  timestamptz NOT NULL
);

-- What operators, and workers in their place, have done: one row an event of the topic operations, in its order, each chained to the
-- one before by SHA-256 (streams/audit/chain.py). A function of the topic alone: nothing in it is of this database's own.
CREATE TABLE IF NOT EXISTS xinliu.audit (
    sequence   bigint PRIMARY KEY CHECK (sequence > 0),
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
    UNIQUE (topic_id, "offset")
);
CREATE INDEX IF NOT EXISTS audit_at ON xinliu.audit (at);
CREATE INDEX IF NOT EXISTS audit_head ON xinliu.audit (sequence) WHERE kind = 'AUDIT_HEAD';

CREATE OR REPLACE FUNCTION xinliu.audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('xinliu.restoring', true) IS DISTINCT FROM 'yes' THEN
        RAISE EXCEPTION USING MESSAGE = 'xinliu.audit is only added to: ' || TG_OP || ' is refused',
            ERRCODE = 'insufficient_privilege', HINT = 'only `xinliu restore` puts it back, as a whole';
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON xinliu.audit
    FOR EACH STATEMENT EXECUTE FUNCTION xinliu.audit_is_append_only();
