-- Quality figures of the batch's records (docs/quality.md): a function of the set of their statements alone, computed once before the
-- batch and once after; the batch adds the difference. A statement counts once, as it was first received.
WITH said AS (
    SELECT h.record_id, h.province, h.department, h.version, h.digest_hi, h.digest_lo, min(h.reason) AS reason,
           min(h.received_at) AS received_at, min(h.decided_on) AS decided_on
    FROM record_history h
    WHERE h.record_id = ANY(ARRAY(SELECT DISTINCT record_id FROM suspect))
    GROUP BY 1, 2, 3, 4, 5, 6
), judged AS (
    SELECT department, (received_at AT TIME ZONE 'Asia/Shanghai')::date AS day, reason, decided_on,
           count(*) OVER (PARTITION BY record_id, province, department, version) > 1 AS contested,
           -- The first publication of a record, if the receipts of all its statements are known.
           reason = 'PUBLISHED' AND count(*) OVER (PARTITION BY record_id, province, department)
               = count(received_at) OVER (PARTITION BY record_id, province, department)
               AND row_number() OVER (
                   PARTITION BY record_id, province, department, reason ORDER BY version, digest_hi, digest_lo
               ) = 1 AS first
    FROM said
)
SELECT j.day, j.department, c.measure, c.bucket, count(*)
FROM judged j CROSS JOIN LATERAL (
    VALUES ('ACCEPTED', 0, true),
           ('CORRECTED', 0, j.reason = 'CORRECTED'),
           ('CONFLICT', 0, j.contested),
           ('PUBLISHED', LEAST(GREATEST(j.day - j.decided_on, 0), 61), j.first AND j.decided_on IS NOT NULL)
) AS c (measure, bucket, counts)
WHERE j.day IS NOT NULL AND c.counts
GROUP BY 1, 2, 3, 4
