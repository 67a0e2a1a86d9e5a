-- Request the sets that differed at the last checkpoint: at once, then with back-off; only so many at a time.
WITH standing AS (
    SELECT count(*) AS asked FROM exchange_request WHERE asked_at > clock_timestamp() - %(window)s::interval
), due AS (
    SELECT f.province, f.partition, f.domain
    FROM foreign_domain f
    LEFT JOIN exchange_request r USING (province, partition, domain)
    WHERE NOT f.equal AND (r.due_at IS NULL OR r.due_at <= clock_timestamp())
    ORDER BY r.due_at NULLS FIRST, f.province, f.partition, f.domain
    LIMIT GREATEST(0, %(most)s - (SELECT asked FROM standing))
)
INSERT INTO exchange_request AS held (province, partition, domain, since, tries, asked_at, due_at)
SELECT province, partition, domain, clock_timestamp(), 1, clock_timestamp(), clock_timestamp() + %(pause)s::interval FROM due
ON CONFLICT (province, partition, domain) DO UPDATE SET
    tries = held.tries + 1, asked_at = excluded.asked_at,
    due_at = excluded.asked_at + LEAST(%(pause)s::interval * 2 ^ LEAST(held.tries, 10), %(longest)s::interval)
RETURNING province, partition, domain, tries
