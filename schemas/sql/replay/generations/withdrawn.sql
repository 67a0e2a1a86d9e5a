-- Behind withdraw.sql and told.sql: entries of the outbox, as share.sql writes them. Returns how many records are withdrawn.
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
