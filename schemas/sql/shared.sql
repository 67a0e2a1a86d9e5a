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

-- One row. After how long without news a source counts as silent (未归集); illustrative, no rule states it.
CREATE TABLE xinliu.freshness (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    silent_after interval NOT NULL DEFAULT '7 days'
);
INSERT INTO xinliu.freshness DEFAULT VALUES;
