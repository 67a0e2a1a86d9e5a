-- Store another province's question; a repetition is ignored while the last one is being answered, or just was.
INSERT INTO xinliu.exchange_wanted AS held (asked_by, partition, domain, bits, digests, next_bucket, asked_at)
VALUES (%(asked_by)s, %(partition)s, %(domain)s, %(bits)s, %(digests)s, 0, clock_timestamp())
ON CONFLICT (asked_by, partition, domain) DO UPDATE SET
    bits = excluded.bits, digests = excluded.digests, next_bucket = 0, asked_at = excluded.asked_at
WHERE held.next_bucket IS NULL AND held.answered_at < clock_timestamp() - %(pause)s::interval
