-- What the topic says was told after this database's last checkpoint becomes what has been shared: the others hold it, whatever a
-- restored database remembers. Only what outranks what is known here. Returns how many records that were.
WITH news AS MATERIALIZED (
    SELECT f.*, s.partition AS held_partition, s.domain AS held_domain, s.digest_hi AS held_hi, s.digest_lo AS held_lo,
           COALESCE(s.state = 'SHARED', false) AS shared
    FROM jsonb_to_recordset(%(rows)s) AS f (
        record_id uuid, department text, partition smallint, epoch bigint, state text, kind text, domain text, uscc text,
        version bigint, digest_hi bigint, digest_lo bigint, status text
    )
    LEFT JOIN xinliu.shared_record s USING (record_id, department)
    WHERE s.epoch IS NULL
       OR (f.epoch, f.version, f.digest_hi, f.digest_lo) > (s.epoch, s.version, s.digest_hi, s.digest_lo)
), told AS (
    INSERT INTO xinliu.shared_record AS held (
        record_id, department, partition, epoch, state, kind, domain, uscc, version, digest_hi, digest_lo, status
    )
    SELECT record_id, department, partition, epoch, state, kind, domain, uscc, version, digest_hi, digest_lo, status
    FROM news
    ORDER BY record_id, department
    ON CONFLICT (record_id, department) DO UPDATE SET
        partition = excluded.partition, epoch = excluded.epoch, state = excluded.state, kind = excluded.kind,
        domain = excluded.domain, uscc = excluded.uscc, version = excluded.version, digest_hi = excluded.digest_hi,
        digest_lo = excluded.digest_lo, status = excluded.status, changed_at = excluded.changed_at
), delta AS (
    SELECT held_partition AS partition, held_domain AS domain, -1 AS records, held_hi AS digest_hi, held_lo AS digest_lo
    FROM news WHERE shared
    UNION ALL
    SELECT partition, domain, 1, digest_hi, digest_lo FROM news WHERE state = 'SHARED'
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
SELECT count(*) FROM news
