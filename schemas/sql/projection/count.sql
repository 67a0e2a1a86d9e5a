-- Upsert of a batch's increments to the departments' quality figures; rows sorted by key.
INSERT INTO quality_day AS held (day, department, measure, bucket, shard, n)
SELECT day, department, measure, bucket, %(shard)s, n
FROM unnest(%(days)s::date[], %(departments)s::text[], %(measures)s::text[], %(buckets)s::smallint[], %(counts)s::bigint[])
    AS more (day, department, measure, bucket, n)
ON CONFLICT (day, department, measure, bucket, shard) DO UPDATE SET n = held.n + excluded.n
