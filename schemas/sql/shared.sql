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

-- One row. After how long without news a source counts as silent (未归集); illustrative, no rule states it.
CREATE TABLE xinliu.freshness (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    silent_after interval NOT NULL DEFAULT '7 days'
);
INSERT INTO xinliu.freshness DEFAULT VALUES;

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
