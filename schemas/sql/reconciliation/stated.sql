-- Stated records that differ from the stored ones, whatever month or domain those have; records of other departments stay
-- undisclosed. A record that a statement later than the manifest has moved on is no difference. reasons: why intake refused the
-- very version that is stated.
WITH refused AS (
    SELECT s.record_id, array_agg(DISTINCT (f ->> 'code') || ': ' || left(f ->> 'message', 200)) AS reasons
    FROM stated s
    JOIN quarantine e ON e.record_id = replace(s.record_id::text, '-', '') AND e.version = s.version
    CROSS JOIN LATERAL jsonb_array_elements(e.findings) AS f
    WHERE e.department = %(department)s
    GROUP BY s.record_id
)
SELECT s.record_id,
       CASE
           WHEN r.record_id IS NULL OR s.version > r.version THEN
               CASE WHEN q.reasons IS NOT NULL THEN 'REFUSED' WHEN r.record_id IS NULL THEN 'MISSING' ELSE 'OLDER_HERE' END
           WHEN s.version < r.version THEN 'NEWER_HERE'
           ELSE 'CONTENT'
       END AS difference,
       s.version AS stated_version, r.version AS held_version, COALESCE(q.reasons, '{}') AS reasons
FROM stated s
LEFT JOIN record r ON r.record_id = s.record_id AND r.department = %(department)s AND r.province = %(province)s
LEFT JOIN refused q ON q.record_id = s.record_id
WHERE (r.version, r.digest_hi, r.digest_lo) IS DISTINCT FROM (s.version, s.digest_hi, s.digest_lo)
  AND NOT COALESCE(
      r.known_at > %(cutoff)s AND (r.version, r.digest_hi, r.digest_lo) > (s.version, s.digest_hi, s.digest_lo), false
  )
ORDER BY s.record_id
