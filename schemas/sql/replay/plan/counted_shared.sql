-- Count of the records shared with other provinces in a scope: times are those of the last publication, offsets those of the statement
-- in `accepted`, a bucket the first bits of record_id. lost: shared, but the shared statement is missing from history.
WITH fits AS MATERIALIZED (
    SELECT s.record_id, s.department, s.uscc, s.state, h.record_id IS NOT NULL AS told
    FROM xinliu.shared_record s
    LEFT JOIN LATERAL (
        SELECT h.record_id, h.accepted_partition, h.accepted_offset
        FROM record_history h
        WHERE h.record_id = s.record_id AND h.department = s.department AND h.province = %(own)s
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
)
SELECT (SELECT count(*) FROM fits) AS events,
       (SELECT count(*) FROM fits WHERE state = 'SHARED') AS records,
       (SELECT count(DISTINCT uscc) FROM fits) AS entities,
       ARRAY(SELECT DISTINCT uscc FROM fits ORDER BY uscc LIMIT %(first)s) AS first_entities,
       (SELECT count(*) FROM fits WHERE state = 'SHARED' AND NOT told) AS lost
