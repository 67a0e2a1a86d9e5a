-- The data-as-of that readers see for each source from now on, for readings of the past: every step back, and a step forward of
-- ten minutes or more. A past reading may so see less than was vouched for, never more.
INSERT INTO xinliu.vouched (department, noted_at, data_as_of)
SELECT f.department, clock_timestamp(), f.data_as_of
FROM source_freshness f
LEFT JOIN LATERAL (
    SELECT v.data_as_of FROM xinliu.vouched v WHERE v.department = f.department ORDER BY v.noted_at DESC LIMIT 1
) last ON true
WHERE (SELECT generation FROM xinliu.serving) = %(generation)s
  AND f.data_as_of IS DISTINCT FROM last.data_as_of
  AND ((f.data_as_of < last.data_as_of) IS NOT FALSE OR f.data_as_of >= last.data_as_of + interval '10 minutes')
ON CONFLICT DO NOTHING
