-- Records in a scope according to the tables, whatever is in the log; times and offsets are in history only. A parameter that is
-- NULL is no condition.
SELECT h.record_id
FROM record_history h LEFT JOIN record r USING (record_id, province, department)
WHERE (%(domains)s::text[] IS NULL OR r.domain = ANY(%(domains)s))
  AND (%(departments)s::text[] IS NULL OR h.department = ANY(%(departments)s))
  AND (%(entities)s::text[] IS NULL OR h.uscc = ANY(%(entities)s))
  AND (%(province)s::text IS NULL OR h.province = %(province)s)
  AND (%(since)s::timestamptz IS NULL OR h.known_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR h.known_at < %(until)s)
  AND (%(partitions)s::smallint[] IS NULL OR EXISTS (
      SELECT FROM unnest(%(partitions)s::smallint[], %(from)s::bigint[], %(to)s::bigint[]) AS span (partition, first, last)
      WHERE h.accepted_partition = span.partition AND h.accepted_offset >= span.first AND h.accepted_offset < span.last
  ))
UNION
SELECT record_id
FROM record
WHERE %(since)s::timestamptz IS NULL AND %(until)s::timestamptz IS NULL AND %(partitions)s::smallint[] IS NULL
  AND (%(domains)s::text[] IS NULL OR domain = ANY(%(domains)s))
  AND (%(departments)s::text[] IS NULL OR department = ANY(%(departments)s))
  AND (%(entities)s::text[] IS NULL OR uscc = ANY(%(entities)s))
  AND (%(province)s::text IS NULL OR province = %(province)s)
