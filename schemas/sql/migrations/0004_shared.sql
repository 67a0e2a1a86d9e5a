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
