-- Sums of a department's stored records of one kind and domain, in one pass: by month, by bucket, and outside the scope.
SELECT GROUPING(period) = 0 AS by_period, period, bucket, count(*), bit_xor(digest_hi), bit_xor(digest_lo)
FROM (
    SELECT CASE WHEN inside THEN to_char(stated_at AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM') END AS period,
           CASE WHEN inside THEN ((get_byte(id, 0) << 4) | (get_byte(id, 1) >> 4)) >> (12 - %(bits)s) END AS bucket,
           digest_hi, digest_lo
    FROM (
        SELECT uuid_send(record_id) AS id, stated_at, digest_hi, digest_lo,
               stated_at >= COALESCE(%(from)s, '-infinity'::timestamptz)
               AND stated_at < COALESCE(%(before)s, 'infinity'::timestamptz) AS inside
        FROM record
        WHERE province = %(province)s AND department = %(department)s AND domain = %(domain)s AND kind = %(kind)s
    ) r
) r
GROUP BY GROUPING SETS ((period), (bucket))
