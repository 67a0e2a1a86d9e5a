-- Closes differences in the buckets that a manifest of at least the same scope finds equal.
UPDATE record_difference d
SET closed_at = %(now)s
FROM unnest(%(lows)s::uuid[], %(highs)s::uuid[]) AS b (low, high)
WHERE d.department = %(department)s AND d.domain = %(domain)s AND d.kind = %(kind)s AND d.closed_at IS NULL
  AND d.record_id BETWEEN b.low AND b.high AND d.record_id <> ALL (%(named)s::uuid[])
  AND COALESCE(%(first_period)s::text <= d.first_period, %(first_period)s::text IS NULL)
  AND COALESCE(%(last_period)s::text >= d.last_period, %(last_period)s::text IS NULL)
