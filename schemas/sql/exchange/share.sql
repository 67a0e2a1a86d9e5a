-- Behind decided.sql: what was decided becomes what has been shared, with its digests, and entries of the outbox: a line each
-- (streams/exchange/entries.py), since arrays of JSON took longer than all the rest. Returns how many records are shared or followed, and how many withdrawn.
, told AS (
    INSERT INTO xinliu.shared_record AS held (
        record_id, department, partition, epoch, state, kind, domain, uscc, version, digest_hi, digest_lo, status
    )
    SELECT record_id, department,
           CASE WHEN wanted THEN partition ELSE held_partition END, epoch,
           CASE WHEN wanted THEN 'SHARED' ELSE 'WITHDRAWN' END,
           CASE WHEN wanted THEN kind ELSE held_kind END,
           CASE WHEN wanted THEN domain ELSE held_domain END,
           CASE WHEN wanted THEN uscc ELSE held_uscc END,
           CASE WHEN wanted THEN version ELSE held_version END,
           CASE WHEN wanted THEN digest_hi ELSE held_hi END,
           CASE WHEN wanted THEN digest_lo ELSE held_lo END,
           CASE WHEN wanted THEN status ELSE 'WITHDRAWN' END
    FROM decided
    ORDER BY record_id, department
    ON CONFLICT (record_id, department) DO UPDATE SET
        partition = excluded.partition, epoch = excluded.epoch, state = excluded.state, kind = excluded.kind,
        domain = excluded.domain, uscc = excluded.uscc, version = excluded.version, digest_hi = excluded.digest_hi,
        digest_lo = excluded.digest_lo, status = excluded.status, changed_at = excluded.changed_at
), delta AS (
    SELECT held_partition AS partition, held_domain AS domain, -1 AS records, held_hi AS digest_hi, held_lo AS digest_lo
    FROM decided WHERE shared
    UNION ALL
    SELECT partition, domain, 1, digest_hi, digest_lo FROM decided WHERE wanted
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
), entry AS (
    SELECT concat_ws(
        '|', 'SHARE', partition, record_id, department, epoch, version, digest_hi, digest_lo, 'f', uscc, domain, kind, status
    ) AS entry
    FROM decided WHERE wanted
    UNION ALL
    SELECT concat_ws(
        '|', 'WITHDRAW', held_partition, record_id, department, next, held_version, held_hi, held_lo, 'f',
        held_uscc, held_domain, held_kind, 'WITHDRAWN'
    )
    FROM decided WHERE leaves
), numbered AS (
    -- In no order: rank decides, and a sort would be the dearest part.
    SELECT entry, row_number() OVER () - 1 AS n FROM entry
), waiting AS (
    INSERT INTO outbox (kind, payload)
    SELECT 'EXCHANGE', to_jsonb(string_agg(entry, E'\n')) FROM numbered GROUP BY n / %(portion)s
)
SELECT count(*) FILTER (WHERE wanted), count(*) FILTER (WHERE leaves) FROM decided
