-- Rows of credit_view that differ from the sums of their records, for the entities from one code (exclusive) to another
-- (inclusive), or for the named ones.
WITH held AS (
    SELECT uscc, province, domain, count(*)::integer AS records,
           (count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'PENALTY'))::integer AS penalties,
           (count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'LISTING' AND listing_removed_on IS NULL))::integer AS listings,
           bit_xor(digest_hi) AS digest_hi, bit_xor(digest_lo) AS digest_lo
    FROM record
    WHERE status <> 'WITHDRAWN' AND (%(after)s::text IS NULL OR uscc > %(after)s) AND uscc <= %(last)s AND (%(usccs)s::text[] IS NULL OR uscc = ANY(%(usccs)s))
    GROUP BY uscc, province, domain
)
SELECT uscc, province, domain,
       CASE WHEN v.records IS NULL THEN 'MISSING' WHEN h.records IS NULL THEN 'EXTRA' ELSE 'CHANGED' END AS difference,
       array_remove(ARRAY[
           CASE WHEN v.records <> h.records THEN 'records' END,
           CASE WHEN v.penalties <> h.penalties THEN 'penalties' END,
           CASE WHEN v.listings <> h.listings THEN 'listings' END,
           CASE WHEN (v.digest_hi, v.digest_lo) <> (h.digest_hi, h.digest_lo) THEN 'digest' END
       ], NULL) AS fields
FROM held h
FULL JOIN (
    SELECT * FROM credit_view WHERE (%(after)s::text IS NULL OR uscc > %(after)s) AND uscc <= %(last)s AND (%(usccs)s::text[] IS NULL OR uscc = ANY(%(usccs)s))
) v USING (uscc, province, domain)
WHERE (v.records, v.penalties, v.listings, v.digest_hi, v.digest_lo)
      IS DISTINCT FROM (h.records, h.penalties, h.listings, h.digest_hi, h.digest_lo)
ORDER BY uscc, province, domain
