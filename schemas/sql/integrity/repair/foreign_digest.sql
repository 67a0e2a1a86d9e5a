-- Sums of other provinces' sets, from their rows. The equality that readers see follows at once.
WITH made AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS m (
        province text, partition smallint, domain text, records bigint, digest_hi bigint, digest_lo bigint
    )
), told AS (
    UPDATE foreign_domain f
    SET held_records = m.records, held_hi = m.digest_hi, held_lo = m.digest_lo
    FROM made m
    WHERE f.province = m.province AND f.partition = m.partition AND f.domain = m.domain
)
INSERT INTO foreign_digest (province, partition, domain, records, digest_hi, digest_lo)
SELECT province, partition, domain, records, digest_hi, digest_lo FROM made ORDER BY 1, 2, 3
ON CONFLICT (province, partition, domain) DO UPDATE SET
    records = excluded.records, digest_hi = excluded.digest_hi, digest_lo = excluded.digest_lo
