-- Compare each domain of a complete checkpoint with the stored rows at that point; a domain that only one side has
-- counts as empty on the other. No province vouches for a time after its checkpoint.
INSERT INTO foreign_domain AS before (
    province, partition, domain, sequence, records, digest_hi, digest_lo, held_records, held_hi, held_lo, data_as_of,
    made_at, checked_at
)
SELECT %(province)s, %(partition)s, domain, %(sequence)s,
       COALESCE(told.records, 0), COALESCE(told.digest_hi, 0), COALESCE(told.digest_lo, 0),
       COALESCE(held.records, 0), COALESCE(held.digest_hi, 0), COALESCE(held.digest_lo, 0),
       CASE WHEN told.data_as_of IS NOT NULL THEN LEAST(told.data_as_of, %(made_at)s) END, %(made_at)s, clock_timestamp()
FROM jsonb_to_recordset(%(domains)s)
    AS told (domain text, records bigint, digest_hi bigint, digest_lo bigint, data_as_of timestamptz)
FULL JOIN (
    SELECT domain, records, digest_hi, digest_lo
    FROM foreign_digest
    WHERE province = %(province)s AND partition = %(partition)s AND (records, digest_hi, digest_lo) <> (0, 0, 0)
) held USING (domain)
FULL JOIN (
    SELECT domain FROM foreign_domain WHERE province = %(province)s AND partition = %(partition)s
) known USING (domain)
ORDER BY domain
ON CONFLICT (province, partition, domain) DO UPDATE SET
    sequence = excluded.sequence, records = excluded.records, digest_hi = excluded.digest_hi,
    digest_lo = excluded.digest_lo, held_records = excluded.held_records, held_hi = excluded.held_hi,
    held_lo = excluded.held_lo, data_as_of = excluded.data_as_of, made_at = excluded.made_at,
    checked_at = excluded.checked_at
