-- Stored records in these buckets and in scope that are not stated, though known when the manifest was made.
SELECT r.record_id, r.version, count(*) OVER () AS total
FROM unnest(%(lows)s::uuid[], %(highs)s::uuid[]) AS b (low, high)
JOIN record r ON r.record_id BETWEEN b.low AND b.high
WHERE r.province = %(province)s AND r.department = %(department)s AND r.domain = %(domain)s AND r.kind = %(kind)s
  AND r.stated_at >= COALESCE(%(from)s, '-infinity'::timestamptz) AND r.stated_at < COALESCE(%(before)s, 'infinity'::timestamptz)
  AND r.known_at <= %(cutoff)s
  AND NOT EXISTS (SELECT FROM stated s WHERE s.record_id = r.record_id)
ORDER BY r.record_id
LIMIT %(most)s
