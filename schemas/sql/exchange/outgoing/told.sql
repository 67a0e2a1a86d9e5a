-- Behind `changed`, which has each record's new shared state, and in held_… and shared the state before: store the new
-- state, and update the digests.
, told AS (
    INSERT INTO xinliu.shared_record AS held (
        record_id, department, partition, epoch, state, kind, domain, uscc, version, digest_hi, digest_lo, status
    )
    SELECT record_id, department, partition, epoch, state, kind, domain, uscc, version, digest_hi, digest_lo, status
    FROM changed
    ORDER BY record_id, department
    ON CONFLICT (record_id, department) DO UPDATE SET
        partition = excluded.partition, epoch = excluded.epoch, state = excluded.state, kind = excluded.kind,
        domain = excluded.domain, uscc = excluded.uscc, version = excluded.version, digest_hi = excluded.digest_hi,
        digest_lo = excluded.digest_lo, status = excluded.status, changed_at = excluded.changed_at
), delta AS (
    SELECT held_partition AS partition, held_domain AS domain, -1 AS records, held_hi AS digest_hi, held_lo AS digest_lo
    FROM changed WHERE shared
    UNION ALL
    SELECT partition, domain, 1, digest_hi, digest_lo FROM changed WHERE state = 'SHARED'
), summed AS (
    INSERT INTO xinliu.shared_digest AS held (partition, domain, records, digest_hi, digest_lo)
    SELECT partition, domain, sum(records), bit_xor(digest_hi), bit_xor(digest_lo)
    FROM delta
    GROUP BY partition, domain
    ORDER BY partition, domain
    ON CONFLICT (partition, domain) DO UPDATE SET
        records = held.records + excluded.records,
        digest_hi = held.digest_hi # excluded.digest_hi,
        digest_lo = held.digest_lo # excluded.digest_lo
)
