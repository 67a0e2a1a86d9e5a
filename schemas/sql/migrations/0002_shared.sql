-- As 0002_generation.sql, for what all generations share; every statement may be run again.

-- What computes with days, as schemas/catalogue has it, line by line (`place` is the order of the file; docs/time.md).
CREATE TABLE IF NOT EXISTS xinliu.level (
    place integer PRIMARY KEY, level text NOT NULL, published text NOT NULL, min_months integer NOT NULL,
    max_months integer NOT NULL, repair_after_months integer, counts_from text NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
);
CREATE TABLE IF NOT EXISTS xinliu.list_period (
    place integer PRIMARY KEY, list text NOT NULL, months integer, early_exit_months integer, early_exit_counts_from text,
    anchor text NOT NULL, effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
);
CREATE TABLE IF NOT EXISTS xinliu.report_window (
    place integer PRIMARY KEY, kind text NOT NULL, anchor text NOT NULL, anchor_zh text NOT NULL, max_months integer NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
);
CREATE TABLE IF NOT EXISTS xinliu.visibility (
    place integer PRIMARY KEY, decision text NOT NULL, kind text NOT NULL, level text NOT NULL, status text NOT NULL,
    publication text NOT NULL, report_window text NOT NULL, answer text NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
);
CREATE TABLE IF NOT EXISTS xinliu.deadline (
    place integer PRIMARY KEY, deadline text NOT NULL, province text NOT NULL, name_zh text NOT NULL,
    working_days integer NOT NULL, counts_from text NOT NULL,
    effective_from date NOT NULL, effective_to date, source text NOT NULL, illustrative text NOT NULL
);

-- Every day of the years that holidays.csv holds; ordinal counts the working days up to it, so that the difference of two
-- ordinals is the number of working days between two days.
CREATE TABLE IF NOT EXISTS xinliu.workday (
    day date PRIMARY KEY, working boolean NOT NULL, why text NOT NULL, ordinal integer NOT NULL
);
CREATE INDEX IF NOT EXISTS workday_ordinal ON xinliu.workday (ordinal);
