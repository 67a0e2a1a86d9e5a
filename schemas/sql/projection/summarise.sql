-- Upsert of the deltas into the credit view, sorted by key, because unsorted concurrent batches deadlock. Returns the entities that
-- lost their last record of a domain.
WITH viewed AS (
    INSERT INTO credit_view AS held (uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at)
    SELECT uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at
    FROM delta
    ORDER BY uscc, province, domain
    ON CONFLICT (uscc, province, domain) DO UPDATE SET
        records = held.records + excluded.records,
        penalties = held.penalties + excluded.penalties,
        listings = held.listings + excluded.listings,
        digest_hi = held.digest_hi # excluded.digest_hi,
        digest_lo = held.digest_lo # excluded.digest_lo,
        changed_at = GREATEST(held.changed_at, excluded.changed_at)
    RETURNING uscc, records
)
SELECT array_agg(uscc) FROM viewed WHERE records = 0
