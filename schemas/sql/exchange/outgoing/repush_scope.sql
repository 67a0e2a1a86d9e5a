-- Queue the shared records of a scope again, as they stand, marked as mending (exchange/outgoing/repush.sql). Times are
-- those of the last publication, offsets those of the statement in `accepted`, a bucket the first bits of record_id.
-- Returns the number of records.
WITH chosen AS (
    SELECT s.*
    FROM xinliu.shared_record s
    LEFT JOIN LATERAL (
        SELECT h.accepted_partition, h.accepted_offset
        FROM record_history h
        WHERE %(partitions)s::smallint[] IS NOT NULL
          AND h.record_id = s.record_id AND h.department = s.department AND h.province = %(own)s
          AND (h.version, h.digest_hi, h.digest_lo) = (s.version, s.digest_hi, s.digest_lo)
        ORDER BY h.known_at
        LIMIT 1
    ) h ON true
    WHERE (%(domains)s::text[] IS NULL OR s.domain = ANY(%(domains)s))
      AND (%(departments)s::text[] IS NULL OR s.department = ANY(%(departments)s))
      AND (%(entities)s::text[] IS NULL OR s.uscc = ANY(%(entities)s))
      AND (%(since)s::timestamptz IS NULL OR s.changed_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR s.changed_at < %(until)s)
      AND (%(bits)s::integer IS NULL
           OR ((get_byte(uuid_send(s.record_id), 0) << 8) | get_byte(uuid_send(s.record_id), 1)) >> (16 - %(bits)s) = %(bucket)s)
      AND (%(partitions)s::smallint[] IS NULL OR EXISTS (
          SELECT FROM unnest(%(partitions)s::smallint[], %(from)s::bigint[], %(to)s::bigint[]) AS span (partition, first, last)
          WHERE h.accepted_partition = span.partition AND h.accepted_offset >= span.first AND h.accepted_offset < span.last
      ))
), numbered AS (
    SELECT concat_ws(
               '|', CASE state WHEN 'SHARED' THEN 'SHARE' ELSE 'WITHDRAW' END, partition, record_id, department, epoch, version,
               digest_hi, digest_lo, 't', uscc, domain, kind, status
           ) AS entry,
           row_number() OVER (ORDER BY partition, record_id, department) - 1 AS n
    FROM chosen
), waiting AS (
    INSERT INTO outbox (kind, payload)
    SELECT 'EXCHANGE', to_jsonb(string_agg(entry, E'\n' ORDER BY n)) FROM numbered
    WHERE NOT %(dry_run)s
    GROUP BY n / %(portion)s
    ORDER BY n / %(portion)s
)
SELECT count(*) FROM numbered
