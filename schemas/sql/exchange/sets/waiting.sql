-- The question that has waited longest for its answer, or for the rest of it.
SELECT asked_by, partition, domain, bits, digests, next_bucket
FROM xinliu.exchange_wanted
WHERE next_bucket IS NOT NULL
ORDER BY COALESCE(answered_at, '-infinity'), asked_at, asked_by, partition, domain
LIMIT 1
