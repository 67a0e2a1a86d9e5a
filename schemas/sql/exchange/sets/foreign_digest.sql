-- Digests of other provinces' stored records, by delta; sorted by key, because unsorted concurrent batches deadlock.
INSERT INTO foreign_digest AS held (province, partition, domain, records, digest_hi, digest_lo)
SELECT province, partition, domain, records, digest_hi, digest_lo
FROM unnest(%(provinces)s::text[], %(partitions)s::smallint[], %(domains)s::text[], %(records)s::bigint[],
            %(high)s::bigint[], %(low)s::bigint[])
    AS more (province, partition, domain, records, digest_hi, digest_lo)
ON CONFLICT (province, partition, domain) DO UPDATE SET
    records = held.records + excluded.records,
    digest_hi = held.digest_hi # excluded.digest_hi,
    digest_lo = held.digest_lo # excluded.digest_lo
