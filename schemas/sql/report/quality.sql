-- What departments are measured by (docs/quality.md). Loaded behind reader.sql.

-- How many of what, by China's day of receipt.
CREATE VIEW report.quality_count AS
SELECT day, department, measure, bucket, n FROM serving.quality_count;

-- First publications by day of receipt and of decision, and whether that was late (迟报); NULL: the calendar does not know.
CREATE VIEW report.quality_lateness AS
SELECT day, department, decided_on, n, late FROM serving.quality_lateness;

-- The indicators by department and period ('day' or 'month', of receipt) between two days, both included. Rates are parts of
-- 1, NULL where there is nothing to divide by; times to visible are seconds: the upper bound of the bucket.
CREATE FUNCTION report.quality_by(period text, first_day date, last_day date)
RETURNS TABLE (
    department text, period_from date, received bigint, accepted bigint, refused bigint, compliance_rate numeric,
    published bigint, late bigint, not_judged bigint, late_rate numeric, corrected bigint, conflicts bigint,
    visible_p50 double precision, visible_p99 double precision
)
LANGUAGE sql STABLE
SET search_path = pg_catalog
AS $$
    WITH counts AS (
        SELECT c.department, date_trunc(period, c.day)::date AS since, c.measure, c.bucket, sum(c.n) AS n
        FROM report.quality_count c
        WHERE c.day BETWEEN first_day AND last_day
        GROUP BY 1, 2, 3, 4
    ), sums AS (
        SELECT c.department, c.since,
               COALESCE(sum(n) FILTER (WHERE measure = 'ACCEPTED'), 0)::bigint AS accepted,
               COALESCE(sum(n) FILTER (WHERE measure = 'REFUSED'), 0)::bigint AS refused,
               COALESCE(sum(n) FILTER (WHERE measure = 'CORRECTED'), 0)::bigint AS corrected,
               COALESCE(sum(n) FILTER (WHERE measure = 'CONFLICT'), 0)::bigint AS conflicts
        FROM counts c
        GROUP BY 1, 2
    ), lateness AS (
        SELECT l.department, date_trunc(period, l.day)::date AS since, sum(n)::bigint AS published,
               COALESCE(sum(n) FILTER (WHERE l.late), 0)::bigint AS late,
               COALESCE(sum(n) FILTER (WHERE l.late IS NULL), 0)::bigint AS not_judged
        FROM report.quality_lateness l
        WHERE l.day BETWEEN first_day AND last_day
        GROUP BY 1, 2
    ), cumulative AS (
        SELECT c.department, c.since, c.bucket, sum(n) OVER (PARTITION BY c.department, c.since ORDER BY c.bucket) AS up_to,
               sum(n) OVER (PARTITION BY c.department, c.since) AS total
        FROM counts c
        WHERE c.measure = 'VISIBLE'
    ), visible AS (
        SELECT v.department, v.since, min(v.bucket) FILTER (WHERE up_to >= 0.5 * total) AS p50,
               min(v.bucket) FILTER (WHERE up_to >= 0.99 * total) AS p99
        FROM cumulative v
        GROUP BY 1, 2
    ), bounds AS (
        SELECT ARRAY[0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86400, 'infinity']::float8[] AS of_bucket
    )
    SELECT s.department, s.since, s.accepted + s.refused, s.accepted, s.refused,
           round(s.accepted::numeric / NULLIF(s.accepted + s.refused, 0), 4),
           COALESCE(l.published, 0), COALESCE(l.late, 0), COALESCE(l.not_judged, 0),
           round(l.late::numeric / NULLIF(l.published - l.not_judged, 0), 4),
           s.corrected, s.conflicts, b.of_bucket[v.p50 + 1], b.of_bucket[v.p99 + 1]
    FROM sums s
    CROSS JOIN bounds b
    LEFT JOIN lateness l USING (department, since)
    LEFT JOIN visible v USING (department, since)
    ORDER BY s.department, s.since
$$;

CREATE VIEW report.quality AS SELECT * FROM report.quality_by('day', '-infinity', 'infinity');
CREATE VIEW report.quality_month AS SELECT * FROM report.quality_by('month', '-infinity', 'infinity');
