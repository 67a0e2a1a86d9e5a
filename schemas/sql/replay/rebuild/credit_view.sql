-- The credit view of each entity, from its records; it last changed when the newest of them came, or one left it. The query reads into
-- a temporary table first, since PostgreSQL runs only reads in parallel.
CREATE TEMPORARY TABLE rebuild_credit ON COMMIT DROP AS
SELECT uscc, province COLLATE "C" AS province, domain, count(*) AS records,
       count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'PENALTY') AS penalties,
       count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'LISTING' AND listing_removed_on IS NULL) AS listings,
       bit_xor(digest_hi) AS digest_hi, bit_xor(digest_lo) AS digest_lo, max(known_at) AS changed_at
FROM record
WHERE status <> 'WITHDRAWN'
GROUP BY uscc, province COLLATE "C", domain;
INSERT INTO credit_view (uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at)
SELECT uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at
FROM rebuild_credit
ORDER BY uscc, province, domain
