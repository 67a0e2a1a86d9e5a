-- Carries over the time until statements became visible: they became visible in the generation that served.
INSERT INTO quality_day (day, department, measure, bucket, shard, n)
SELECT day, department, measure, bucket, shard, n FROM {old}.quality_day WHERE measure = 'VISIBLE'
