-- Periods and decisions beside report.penalty and report.listing: run after reader.sql (docs/time.md).

-- One entity's penalties on a day; window_from NULL is the longest window that may end on it.
CREATE FUNCTION report.penalties_on(entity text, day date, window_from date DEFAULT NULL)
RETURNS TABLE (
    record_id uuid, uscc text, domain text, publish_from date, publish_to date, publish_basis text, repair_from date,
    in_force boolean, in_window boolean, publishable boolean, reportable boolean
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT r.record_id, r.uscc, r.domain, t.*
    FROM report.penalty r
    CROSS JOIN LATERAL report.penalty_period(
        r.decided_on, r.valid_until, r.publish_until, r.level, 'IN_FORCE', penalties_on.window_from, day
    ) t
    WHERE r.uscc = entity;
END;

-- One entity's list entries on a day.
CREATE FUNCTION report.listings_on(entity text, day date, window_from date DEFAULT NULL)
RETURNS TABLE (
    record_id uuid, uscc text, domain text, publish_from date, publish_to date, publish_basis text, repair_from date,
    in_force boolean, in_window boolean, publishable boolean, reportable boolean
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT r.record_id, r.uscc, r.domain, t.*
    FROM report.listing r
    CROSS JOIN LATERAL report.listing_period(
        r.list, r.listed_on, r.valid_until, r.removed_on, 'IN_FORCE', listings_on.window_from, day
    ) t
    WHERE r.uscc = entity;
END;

-- All penalties and list entries as of today in China.
CREATE VIEW report.penalty_today AS
SELECT r.record_id, r.uscc, r.domain, d.day, t.*
FROM report.penalty r
CROSS JOIN (SELECT report.china_day(now()) AS day) d
CROSS JOIN LATERAL report.penalty_period(
    r.decided_on, r.valid_until, r.publish_until, r.level, 'IN_FORCE', NULL, d.day
) t;

CREATE VIEW report.listing_today AS
SELECT r.record_id, r.uscc, r.domain, d.day, t.*
FROM report.listing r
CROSS JOIN (SELECT report.china_day(now()) AS day) d
CROSS JOIN LATERAL report.listing_period(
    r.list, r.listed_on, r.valid_until, r.removed_on, 'IN_FORCE', NULL, d.day
) t;
