-- Sets of other provinces whose digest, kept by delta, differs from that of the rows.
WITH held AS (
    SELECT province, partition, domain, count(*) AS records, bit_xor(digest_hi) AS digest_hi, bit_xor(digest_lo) AS digest_lo
    FROM (
        SELECT province, xinliu.partition_of(uscc, %(partitions)s) AS partition, domain, digest_hi, digest_lo
        FROM record WHERE province <> %(own)s AND status <> 'WITHDRAWN'
    ) r
    WHERE partition IS NOT NULL
    GROUP BY province, partition, domain
)
SELECT province, partition, domain, COALESCE(h.records, 0) AS records, COALESCE(h.digest_hi, 0) AS digest_hi,
       COALESCE(h.digest_lo, 0) AS digest_lo
FROM held h FULL JOIN foreign_digest d USING (province, partition, domain)
WHERE (COALESCE(h.records, 0), COALESCE(h.digest_hi, 0), COALESCE(h.digest_lo, 0))
      <> (COALESCE(d.records, 0), COALESCE(d.digest_hi, 0), COALESCE(d.digest_lo, 0))
ORDER BY province, partition, domain
