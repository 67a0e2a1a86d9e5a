-- Outbox rows that announce the entities whose view differs from that of the old generation. Returns their number.
WITH differing AS MATERIALIZED (
    SELECT uscc, row_number() OVER () - 1 AS n
    FROM (
        SELECT uscc, sum(records) AS records, bit_xor(digest_hi) AS high, bit_xor(digest_lo) AS low
        FROM {old}.credit_view GROUP BY uscc
    ) o
    FULL JOIN (
        SELECT uscc, sum(records) AS records, bit_xor(digest_hi) AS high, bit_xor(digest_lo) AS low
        FROM credit_view GROUP BY uscc
    ) n USING (uscc)
    WHERE (o.records, o.high, o.low) IS DISTINCT FROM (n.records, n.high, n.low)
), written AS (
    INSERT INTO outbox (kind, payload)
    SELECT 'CHANGES', jsonb_build_object('uscc', jsonb_agg(uscc ORDER BY uscc)) FROM differing GROUP BY n / 1000
)
SELECT count(*) FROM differing
