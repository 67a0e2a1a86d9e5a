-- Carries over the requests to other provinces for sets that still differ.
INSERT INTO exchange_request AS held (province, partition, domain, since, tries, asked_at, due_at)
SELECT o.province, o.partition, o.domain, o.since, o.tries, o.asked_at, o.due_at
FROM {old}.exchange_request o
WHERE EXISTS (
    SELECT FROM foreign_domain f
    WHERE (f.province, f.partition, f.domain) = (o.province, o.partition, o.domain) AND NOT f.equal
)
ON CONFLICT (province, partition, domain) DO UPDATE SET
    since = LEAST(held.since, excluded.since), tries = excluded.tries, asked_at = excluded.asked_at, due_at = excluded.due_at
