-- Rows of record as the statistics estimate them (a count would read the whole table), and rows of the outbox: of the relay, and
-- of the exchange.
SELECT pg_stat_get_live_tuples('record'::regclass), count(*) FILTER (WHERE kind <> 'EXCHANGE'),
       count(*) FILTER (WHERE kind = 'EXCHANGE')
FROM outbox
