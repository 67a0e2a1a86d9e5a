-- Number of row writes of a generation, and its files: the same numbers again if nobody touched the rows.
SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del), sum(pg_relation_filenode(relid)::bigint)
FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND relname IN ('record', 'record_history', 'credit_view', 'foreign_digest', 'quarantine',
                                                             'quarantine_outcome')
