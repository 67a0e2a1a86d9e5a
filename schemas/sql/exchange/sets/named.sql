-- Compare a set of another province with the copy here when the set came: history before its place in `accepted`, since
-- statements that were pushed behind it may be folded already. EXTRA: stored in its buckets, not in the set, and
-- nothing came since.
WITH line AS (
    SELECT record_id, department, epoch, version, digest_hi, digest_lo
    FROM jsonb_to_recordset(%(lines)s) AS l (
        record_id uuid, department text, epoch bigint, version bigint, digest_hi bigint, digest_lo bigint
    )
), compared AS (
    SELECT l.record_id, l.department, l.epoch AS shared_epoch, l.version AS shared_version,
           h.epoch AS held_epoch, h.version AS held_version,
           CASE
               WHEN h.epoch IS NULL OR h.status = 'WITHDRAWN' AND h.epoch < l.epoch THEN 'MISSING'
               WHEN (h.epoch, h.version) < (l.epoch, l.version) THEN 'OLDER'
               WHEN (h.epoch, h.version) > (l.epoch, l.version) THEN 'NEWER'
               WHEN (h.digest_hi, h.digest_lo) <> (l.digest_hi, l.digest_lo) THEN 'CONTENT'
               WHEN r.record_id IS NULL THEN 'MISSING'
           END AS difference
    FROM line l
    LEFT JOIN LATERAL (
        SELECT h.epoch, h.version, h.digest_hi, h.digest_lo, h.status
        FROM record_history h
        WHERE h.record_id = l.record_id AND h.province = %(province)s AND h.department = l.department
          AND h.accepted_partition = %(partition)s AND h.accepted_offset < %(before)s
        ORDER BY h.epoch DESC, h.version DESC, h.digest_hi DESC, h.digest_lo DESC
        LIMIT 1
    ) h ON true
    LEFT JOIN record r ON r.record_id = l.record_id AND r.province = %(province)s AND r.department = l.department
), extra AS (
    SELECT r.record_id, r.department, NULL::bigint, NULL::bigint, r.epoch, r.version, 'EXTRA'
    FROM unnest(%(first)s::uuid[], %(last)s::uuid[]) AS bucket (first, last)
    JOIN record r ON r.record_id BETWEEN bucket.first AND bucket.last
    WHERE r.province = %(province)s AND r.domain = %(domain)s AND r.status <> 'WITHDRAWN'
      AND xinliu.partition_of(r.uscc, %(all)s) = %(partition)s
      AND NOT EXISTS (SELECT FROM line l WHERE l.record_id = r.record_id AND l.department = r.department)
      AND NOT EXISTS (
          SELECT FROM record_history h
          WHERE h.record_id = r.record_id AND h.province = r.province AND h.department = r.department
            AND h.accepted_partition = %(partition)s AND h.accepted_offset > %(before)s
      )
)
INSERT INTO exchange_difference AS held (
    province, partition, domain, record_id, department, shared_epoch, shared_version, held_epoch, held_version, difference, opened_at
)
SELECT %(province)s, %(partition)s, %(domain)s, found.*, clock_timestamp()
FROM (SELECT * FROM compared WHERE difference IS NOT NULL UNION ALL SELECT * FROM extra) AS found
ORDER BY record_id, department
ON CONFLICT (province, partition, domain, record_id, department) WHERE closed_at IS NULL DO UPDATE SET
    difference = excluded.difference, shared_epoch = excluded.shared_epoch, shared_version = excluded.shared_version,
    held_epoch = excluded.held_epoch, held_version = excluded.held_version
RETURNING difference
