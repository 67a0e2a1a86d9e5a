-- Sums of the shared records, from the rows.
INSERT INTO xinliu.shared_digest AS held (partition, domain, records, digest_hi, digest_lo)
SELECT partition, domain, COALESCE(h.records, 0), COALESCE(h.digest_hi, 0), COALESCE(h.digest_lo, 0)
FROM (
    SELECT partition, domain, count(*) AS records, bit_xor(digest_hi) AS digest_hi, bit_xor(digest_lo) AS digest_lo
    FROM xinliu.shared_record WHERE state = 'SHARED' GROUP BY 1, 2
) h FULL JOIN xinliu.shared_digest d USING (partition, domain)
WHERE (COALESCE(h.records, 0), COALESCE(h.digest_hi, 0), COALESCE(h.digest_lo, 0))
      <> (COALESCE(d.records, 0), COALESCE(d.digest_hi, 0), COALESCE(d.digest_lo, 0))
ORDER BY partition, domain
ON CONFLICT (partition, domain) DO UPDATE SET
    records = excluded.records, digest_hi = excluded.digest_hi, digest_lo = excluded.digest_lo
