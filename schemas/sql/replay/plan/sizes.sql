-- Estimated number of records of each generation, from PostgreSQL's statistics, and disk size of its tables and indexes.
SELECT n.nspname,
       COALESCE(max(GREATEST(c.reltuples, pg_stat_get_live_tuples(c.oid))) FILTER (WHERE c.relname = 'record'), 0)::bigint,
       sum(pg_total_relation_size(c.oid))::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname ~ '^g[0-9]+$'
GROUP BY n.nspname
