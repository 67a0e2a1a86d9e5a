-- Ends the sessions of readers that have lifted their own limits (schemas/store/limits.py), and says of each which one: a
-- role may SET what bounds its statements, and a worker is no superuser. Its owner is a member of the readers' role for
-- this alone.
CREATE OR REPLACE FUNCTION xinliu.end_readers(statement interval, idle interval, whole interval) RETURNS SETOF text
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT session.lifted
    FROM (
        SELECT pid, CASE
            WHEN xact_start < clock_timestamp() - whole THEN 'transaction_timeout'
            WHEN state IN ('active', 'fastpath function call') AND query_start < clock_timestamp() - statement
                THEN 'statement_timeout'
            WHEN starts_with(state, 'idle in transaction') AND state_change < clock_timestamp() - idle
                THEN 'idle_in_transaction_session_timeout'
            END AS lifted
        FROM pg_stat_activity
        WHERE usename = 'xinliu_reader' AND datname = current_database()
    ) session
    -- A CASE, which alone says what is evaluated first.
    WHERE CASE WHEN session.lifted IS NULL THEN false ELSE pg_terminate_backend(session.pid) END;
END;
REVOKE ALL ON FUNCTION xinliu.end_readers(interval, interval, interval) FROM PUBLIC;
