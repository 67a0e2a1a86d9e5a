-- Reverses the counts of the statements in rebuild_said, each counted as the only one (streams/projection/quality.py, counts_of).
INSERT INTO quality_day AS held (day, department, measure, bucket, shard, n)
SELECT j.day, j.department, c.measure, c.bucket, j.accepted_partition, -count(*)
FROM (
    SELECT (received_at AT TIME ZONE 'Asia/Shanghai')::date AS day, department, reason, decided_on, accepted_partition
    FROM rebuild_said
    WHERE received_at IS NOT NULL
) j CROSS JOIN LATERAL (
    VALUES ('ACCEPTED', 0, true),
           ('CORRECTED', 0, j.reason = 'CORRECTED'),
           ('PUBLISHED', LEAST(GREATEST(j.day - j.decided_on, 0), 61), j.reason = 'PUBLISHED' AND j.decided_on IS NOT NULL)
) AS c (measure, bucket, counts)
WHERE c.counts
GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (day, department, measure, bucket, shard) DO UPDATE SET n = held.n + excluded.n
