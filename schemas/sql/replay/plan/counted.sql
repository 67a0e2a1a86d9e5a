-- Count of the log's statements in a scope, from history, with their records and entities. A parameter that is NULL is no
-- condition. A record's domain is part of its id and never changes.
WITH fits AS MATERIALIZED (
    SELECT h.record_id, h.province, h.department, h.uscc
    FROM record_history h
    LEFT JOIN record r USING (record_id, province, department)
    WHERE h.statement IS NOT NULL
      AND (%(domains)s::text[] IS NULL OR r.domain = ANY(%(domains)s))
      AND (%(departments)s::text[] IS NULL OR h.department = ANY(%(departments)s))
      AND (%(entities)s::text[] IS NULL OR h.uscc = ANY(%(entities)s))
      AND (%(province)s::text IS NULL OR h.province = %(province)s)
      AND (%(since)s::timestamptz IS NULL OR h.known_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR h.known_at < %(until)s)
      AND (%(partitions)s::smallint[] IS NULL OR EXISTS (
          SELECT FROM unnest(%(partitions)s::smallint[], %(from)s::bigint[], %(to)s::bigint[]) AS span (partition, first, last)
          WHERE h.accepted_partition = span.partition AND h.accepted_offset >= span.first AND h.accepted_offset < span.last
      ))
)
SELECT (SELECT count(*) FROM fits) AS events,
       (SELECT count(*) FROM (SELECT DISTINCT record_id, province, department FROM fits) r) AS records,
       (SELECT count(DISTINCT uscc) FROM fits) AS entities,
       ARRAY(SELECT DISTINCT uscc FROM fits ORDER BY uscc LIMIT %(first)s) AS first_entities
