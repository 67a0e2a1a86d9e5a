-- Behind told.sql: write the decisions as entries of the outbox, one per line (streams/exchange/outgoing/entries.py),
-- since arrays of JSON took longer than all the rest. Returns the number of records that are shared or followed, and of
-- those withdrawn.
, entry AS (
    SELECT concat_ws(
        '|', 'SHARE', partition, record_id, department, epoch, version, digest_hi, digest_lo, 'f', uscc, domain, kind, status
    ) AS entry
    FROM decided WHERE wanted
    UNION ALL
    SELECT concat_ws(
        '|', 'WITHDRAW', held_partition, record_id, department, next, held_version, held_hi, held_lo, 'f',
        held_uscc, held_domain, held_kind, 'WITHDRAWN'
    )
    FROM decided WHERE leaves
), numbered AS (
    -- In no order: rank decides, and a sort would be the dearest part.
    SELECT entry, row_number() OVER () - 1 AS n FROM entry
), waiting AS (
    INSERT INTO outbox (kind, payload)
    SELECT 'EXCHANGE', to_jsonb(string_agg(entry, E'\n')) FROM numbered GROUP BY n / %(portion)s
)
SELECT count(*) FILTER (WHERE wanted), count(*) FILTER (WHERE leaves) FROM decided
