-- Rows of shared_record that differ from our records: by another entity, domain or kind at the same rank, or by a higher rank
-- (CHANGED), or without a record (EXTRA); then sets whose digest, kept by delta, differs from that of the rows.
SELECT 'shared_record' AS relation, s.record_id, s.department, s.domain, s.partition,
       CASE WHEN r.record_id IS NULL THEN 'EXTRA' ELSE 'CHANGED' END AS difference,
       array_remove(ARRAY[
           CASE WHEN s.kind <> r.kind THEN 'kind' END, CASE WHEN s.domain <> r.domain THEN 'domain' END,
           CASE WHEN s.uscc <> r.uscc THEN 'uscc' END, CASE WHEN s.status <> r.status THEN 'status' END,
           CASE WHEN s.partition <> xinliu.partition_of(r.uscc, %(partitions)s) THEN 'partition' END,
           CASE WHEN s.version <> r.version THEN 'version' END,
           CASE WHEN (s.digest_hi, s.digest_lo) <> (r.digest_hi, r.digest_lo) THEN 'digest' END
       ], NULL) AS fields
FROM xinliu.shared_record s
LEFT JOIN record r ON r.record_id = s.record_id AND r.province = %(own)s AND r.department = s.department
WHERE s.state = 'SHARED' AND (SELECT generation FROM xinliu.serving) = %(generation)s
  AND (r.record_id IS NULL
       OR (r.version, r.digest_hi, r.digest_lo) < (s.version, s.digest_hi, s.digest_lo)
       OR (r.version, r.digest_hi, r.digest_lo) = (s.version, s.digest_hi, s.digest_lo)
          AND (s.kind, s.domain, s.uscc, s.status, s.partition)
              <> (r.kind, r.domain, r.uscc, r.status, xinliu.partition_of(r.uscc, %(partitions)s)))
UNION ALL
SELECT 'shared_digest', NULL, NULL, domain, partition, 'CHANGED', '{}'
FROM (
    SELECT partition, domain, count(*) AS records, bit_xor(digest_hi) AS digest_hi, bit_xor(digest_lo) AS digest_lo
    FROM xinliu.shared_record WHERE state = 'SHARED' GROUP BY 1, 2
) h FULL JOIN xinliu.shared_digest d USING (partition, domain)
WHERE (SELECT generation FROM xinliu.serving) = %(generation)s
  AND (COALESCE(h.records, 0), COALESCE(h.digest_hi, 0), COALESCE(h.digest_lo, 0))
      <> (COALESCE(d.records, 0), COALESCE(d.digest_hi, 0), COALESCE(d.digest_lo, 0))
