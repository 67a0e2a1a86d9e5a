-- Set digests of other provinces' records, by partition and domain.
INSERT INTO foreign_digest (province, partition, domain, records, digest_hi, digest_lo)
SELECT province, xinliu.partition_of(uscc, %(partitions)s), domain, count(*), bit_xor(digest_hi), bit_xor(digest_lo)
FROM record
WHERE EXISTS (SELECT FROM rebuild_foreign) AND epoch > 0 AND status <> 'WITHDRAWN'
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
