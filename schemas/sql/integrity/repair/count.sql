-- Counts some entities anew, from their rows.
WITH k AS (
    SELECT * FROM unnest(%(usccs)s::text[], %(provinces)s::text[], %(domains)s::text[]) AS k (uscc, province, domain)
), gone AS (
    DELETE FROM credit_view v USING k
    WHERE v.uscc = k.uscc AND v.province = k.province AND v.domain = k.domain
      AND NOT EXISTS (
          SELECT FROM record r WHERE r.uscc = k.uscc AND r.province = k.province AND r.domain = k.domain AND r.status <> 'WITHDRAWN'
      )
)
INSERT INTO credit_view AS v (uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at)
SELECT uscc, province, domain, count(*), count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'PENALTY'),
       count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'LISTING' AND listing_removed_on IS NULL),
       bit_xor(digest_hi), bit_xor(digest_lo), max(known_at)
FROM record r JOIN k USING (uscc, province, domain)
WHERE r.status <> 'WITHDRAWN'
GROUP BY uscc, province, domain
ORDER BY uscc, province, domain
ON CONFLICT (uscc, province, domain) DO UPDATE SET
    records = excluded.records, penalties = excluded.penalties, listings = excluded.listings,
    digest_hi = excluded.digest_hi, digest_lo = excluded.digest_lo, changed_at = GREATEST(v.changed_at, excluded.changed_at)
