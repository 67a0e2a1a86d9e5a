-- Disk size of the tables of the generation on the search_path, with indexes, in bytes; and the server's data directory, NULL
-- if this role may not know it or the server is another machine.
SELECT (SELECT COALESCE(sum(pg_total_relation_size(c.oid)), 0)::bigint
        FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')) AS bytes,
       CASE WHEN (inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1')
                 AND pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')
            THEN current_setting('data_directory') END AS folder
