-- After withdraw.sql and told.sql: outbox entries, in the form of share.sql. Returns the number of withdrawn records.
, numbered AS (
    SELECT concat_ws(
               '|', 'WITHDRAW', partition, record_id, department, next, version, digest_hi, digest_lo, 'f', uscc, domain, kind,
               'WITHDRAWN'
           ) AS entry, row_number() OVER () - 1 AS n
    FROM leaving
), waiting AS (
    INSERT INTO outbox (kind, payload)
    SELECT 'EXCHANGE', to_jsonb(string_agg(entry, E'\n')) FROM numbered GROUP BY n / %(portion)s
)
SELECT count(*) FROM leaving
