-- What is in force for each entity, from its records; it last changed when the newest of them came, or one left it.
INSERT INTO credit_view (uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at)
SELECT uscc, province, domain, count(*),
       count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'PENALTY'),
       count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'LISTING' AND listing_removed_on IS NULL),
       bit_xor(digest_hi), bit_xor(digest_lo), max(known_at)
FROM record
WHERE status <> 'WITHDRAWN'
GROUP BY uscc, province COLLATE "C", province, domain
ORDER BY uscc, province COLLATE "C", domain
