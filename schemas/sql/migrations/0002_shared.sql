-- As 0002_generation.sql, for what all generations share; every statement may be run again.
CREATE TABLE IF NOT EXISTS xinliu.province (
    province text PRIMARY KEY,
    name_zh  text NOT NULL,
    division text NOT NULL  -- the first two digits of GB/T 2260
);
CREATE TABLE IF NOT EXISTS xinliu.heartbeat (
    department     text NOT NULL,
    effective_from date NOT NULL,
    effective_to   date,
    expected_every interval NOT NULL,
    silent_after   interval NOT NULL,
    PRIMARY KEY (department, effective_from)
);
CREATE TABLE IF NOT EXISTS xinliu.vouched (
    department text NOT NULL,
    noted_at   timestamptz NOT NULL,
    data_as_of timestamptz,
    PRIMARY KEY (department, noted_at)
);
CREATE OR REPLACE FUNCTION xinliu.judge_source(of_department text, vouched_until timestamptz, at_time timestamptz)
RETURNS TABLE (state text, since timestamptz, expected_every interval, silent_after interval)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    SELECT s.state,
           vouched_until + CASE s.state WHEN '迟' THEN h.expected_every WHEN '中断' THEN h.silent_after END,
           h.expected_every, h.silent_after
    FROM (SELECT 1) AS one
    LEFT JOIN LATERAL (
        SELECT b.expected_every, b.silent_after
        FROM xinliu.heartbeat b
        WHERE b.department IN (of_department, '*')
          AND (at_time AT TIME ZONE 'Asia/Shanghai')::date BETWEEN b.effective_from AND COALESCE(b.effective_to, 'infinity')
        ORDER BY b.department = '*'
        LIMIT 1
    ) h ON true
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN vouched_until IS NULL OR h.silent_after IS NULL OR vouched_until < at_time - h.silent_after THEN '中断'
            WHEN vouched_until < at_time - h.expected_every THEN '迟'
            ELSE '正常'
        END
    ) AS s (state)
$$;
-- xinliu.freshness held one limit for all sources; it is carried over. What read it in the schema report is made anew.
DO $$
BEGIN
    IF to_regclass('xinliu.freshness') IS NOT NULL THEN
        INSERT INTO xinliu.heartbeat
        SELECT '*', '2023-09-01', NULL, LEAST('24 hours', silent_after), silent_after FROM xinliu.freshness
        ON CONFLICT DO NOTHING;
        DROP TABLE xinliu.freshness CASCADE;
    END IF;
END
$$;

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
