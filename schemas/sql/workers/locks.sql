-- Advisory locks in this database, held or awaited: the session's user, whether the session is one of ours by its application
-- name, and the key of locks that have one.
SELECT coalesce(session.usename::text, 'nobody'), session.usename = current_user AND session.application_name = 'xinliu',
       CASE WHEN lock.granted AND lock.objsubid = 1 THEN (lock.classid::bigint << 32) | lock.objid::bigint END
FROM pg_locks lock LEFT JOIN pg_stat_activity session USING (pid)
WHERE lock.locktype = 'advisory' AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
