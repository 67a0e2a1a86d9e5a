-- The arithmetic on days for SQL readers (docs/time.md): run before reader.sql, whose views use it. schemas/calendar/periods.py computes
-- the same; tests/integration/test_time_sql.py holds one against the other. Adding months ends at the last day of a shorter month.
CREATE SCHEMA IF NOT EXISTS report;

-- The day in China at a time.
CREATE FUNCTION report.china_day(moment timestamptz) RETURNS date
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT (moment AT TIME ZONE 'Asia/Shanghai')::date;
END;

-- Where a day lies with regard to a period; one without a last day is never over.
CREATE FUNCTION report.phase(first date, last date, day date) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT CASE WHEN day < first THEN 'NOT_YET' WHEN last IS NULL OR day <= last THEN 'DURING' ELSE 'OVER' END;
END;

-- The first line of visibility.csv that fits decides; NULL on days before the first.
CREATE FUNCTION report.decide(
    decision text, kind text, level text, status text, publication text, report_window text, day date
) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT v.answer = 'yes'
    FROM xinliu.visibility v
    WHERE v.decision = decide.decision
      AND v.effective_from <= day AND COALESCE(v.effective_to, 'infinity') >= day
      AND v.kind IN ('*', decide.kind) AND v.level IN ('*', decide.level) AND v.status IN ('*', decide.status)
      AND v.publication IN ('*', decide.publication)
      AND v.report_window IN ('*', COALESCE(decide.report_window, ''))
    ORDER BY v.place
    LIMIT 1;
END;

-- The first day of the longest window (涵盖时间范围) that a report ending on a day may have; NULL before the first rule.
CREATE FUNCTION report.window_from(kind text, day date) RETURNS date
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT (day - make_interval(months => w.max_months))::date
    FROM xinliu.report_window w
    WHERE w.kind = window_from.kind AND w.effective_from <= day AND COALESCE(w.effective_to, 'infinity') >= day;
END;

-- True where a window is no longer than its rule allows; an error that names the rule where it is.
CREATE FUNCTION report.window_holds(window_from date, window_to date) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog
AS $$
DECLARE
    earliest date := GREATEST(report.window_from('PENALTY', window_to), report.window_from('LISTING', window_to));
BEGIN
    IF window_from < earliest THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a report ending on ' || window_to || ' begins on ' || earliest || ' at the earliest, not on ' || window_from,
            DETAIL = (SELECT string_agg(DISTINCT w.source, '; ') FROM xinliu.report_window w
                      WHERE w.effective_from <= window_to AND COALESCE(w.effective_to, 'infinity') >= window_to);
    END IF;
    RETURN true;
END
$$;

-- When a penalty is published and the two decisions on a day; window_from NULL is the longest window ending on that day.
CREATE FUNCTION report.penalty_period(
    decided_on date, valid_until date, publish_until date, level text, status text, window_from date, day date
) RETURNS TABLE (
    publish_from date, publish_to date, publish_basis text, repair_from date, in_force boolean, in_window boolean,
    publishable boolean, reportable boolean
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT decided_on, t.last, t.basis, t.repair, day BETWEEN decided_on AND valid_until, w.counts = 'DURING',
           report.decide('publishable', 'PENALTY', t.level, status, report.phase(decided_on, t.last, day), w.counts, day),
           CASE WHEN w.counts IS NOT NULL THEN
               report.decide('reportable', 'PENALTY', t.level, status, report.phase(decided_on, t.last, day), w.counts, day)
           END
    FROM (
        SELECT COALESCE(penalty_period.level, '未标明') AS level,
               CASE WHEN l.level IS NULL THEN publish_until
                    ELSE GREATEST(LEAST(publish_until, l.longest), l.shortest) END AS last,
               CASE WHEN l.level IS NULL AND publish_until IS NULL THEN 'NO_RULE'
                    WHEN l.level IS NULL OR publish_until BETWEEN l.shortest AND l.longest THEN 'STATED'
                    WHEN publish_until < l.shortest THEN 'LEVEL_MINIMUM'
                    ELSE 'LEVEL_MAXIMUM' END AS basis,
               l.repair
        FROM (VALUES (1)) AS one
        LEFT JOIN LATERAL (
            SELECT x.level,
                   (decided_on + make_interval(months => x.min_months))::date AS shortest,
                   (decided_on + make_interval(months => x.max_months))::date AS longest,
                   (decided_on + make_interval(months => x.repair_after_months))::date AS repair
            FROM xinliu.level x
            WHERE x.level = COALESCE(penalty_period.level, '未标明')
              AND x.effective_from <= day AND COALESCE(x.effective_to, 'infinity') >= day
        ) l ON true
    ) t
    CROSS JOIN LATERAL (
        SELECT CASE WHEN b.first IS NULL THEN NULL
                    WHEN decided_on > day THEN 'NOT_YET'
                    WHEN decided_on < b.first THEN 'OVER'
                    ELSE 'DURING' END AS counts
        FROM (SELECT COALESCE(penalty_period.window_from, report.window_from('PENALTY', day)) AS first) b
    ) w;
END;

-- The same for a list entry.
CREATE FUNCTION report.listing_period(
    list text, listed_on date, valid_until date, removed_on date, status text, window_from date, day date
) RETURNS TABLE (
    publish_from date, publish_to date, publish_basis text, repair_from date, in_force boolean, in_window boolean,
    publishable boolean, reportable boolean
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT listed_on, t.last, t.basis, t.early,
           listed_on <= day AND COALESCE(day <= valid_until, true) AND COALESCE(day < removed_on, true),
           w.counts = 'DURING',
           report.decide('publishable', 'LISTING', '', status, report.phase(listed_on, t.last, day), w.counts, day),
           CASE WHEN w.counts IS NOT NULL THEN
               report.decide('reportable', 'LISTING', '', status, report.phase(listed_on, t.last, day), w.counts, day)
           END
    FROM (
        SELECT CASE WHEN removed_on <= COALESCE(valid_until, p.term, 'infinity') THEN removed_on - 1
                    ELSE COALESCE(valid_until, p.term) END AS last,
               CASE WHEN removed_on <= COALESCE(valid_until, p.term, 'infinity') THEN 'REMOVED'
                    WHEN valid_until IS NOT NULL THEN 'STATED'
                    WHEN p.term IS NOT NULL THEN 'LIST_PERIOD'
                    ELSE 'NO_TERM' END AS basis,
               p.early
        FROM (VALUES (1)) AS one
        LEFT JOIN LATERAL (
            SELECT (listed_on + make_interval(months => x.months))::date AS term,
                   CASE WHEN x.early_exit_counts_from = 'listed_on' THEN
                       (listed_on + make_interval(months => x.early_exit_months))::date
                   END AS early
            FROM xinliu.list_period x
            WHERE x.list = listing_period.list
              AND x.effective_from <= day AND COALESCE(x.effective_to, 'infinity') >= day
        ) p ON true
    ) t
    CROSS JOIN LATERAL (
        SELECT CASE WHEN b.first IS NULL THEN NULL
                    WHEN listed_on > day THEN 'NOT_YET'
                    WHEN COALESCE(removed_on, 'infinity') < b.first THEN 'OVER'
                    ELSE 'DURING' END AS counts
        FROM (SELECT COALESCE(listing_period.window_from, report.window_from('LISTING', day)) AS first) b
    ) w;
END;

-- The working day on which a term ends that counts from a day; NULL where the calendar does not hold it.
CREATE FUNCTION report.add_workdays(day date, working_days integer) RETURNS date
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT min(e.day)
    FROM xinliu.workday b JOIN xinliu.workday e ON e.ordinal = b.ordinal + working_days
    WHERE b.day = add_workdays.day AND working_days >= 1;
END;

-- How many working days lie after a day, up to another, that one included; NULL where the calendar does not hold both.
CREATE FUNCTION report.workdays_between(day date, until date) RETURNS integer
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT e.ordinal - b.ordinal FROM xinliu.workday b, xinliu.workday e
    WHERE b.day = workdays_between.day AND e.day = until;
END;

-- How many working days a term has in a province on a day; its own line goes before that of all; NULL where there is none.
CREATE FUNCTION report.deadline_days(deadline text, province text, day date) RETURNS integer
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT d.working_days
    FROM xinliu.deadline d
    WHERE d.deadline = deadline_days.deadline AND d.province IN ('*', deadline_days.province)
      AND d.effective_from <= day AND COALESCE(d.effective_to, 'infinity') >= day
    ORDER BY d.province = '*'
    LIMIT 1;
END;
