-- Rows of record as the statistics estimate them (counting them would read the whole table), and rows of the outbox.
SELECT pg_stat_get_live_tuples('record'::regclass), (SELECT count(*) FROM outbox)
