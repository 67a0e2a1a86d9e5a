-- Shared records in some buckets of a set of ours, each with its statement in history: NULL if history has lost it.
SELECT s.record_id, s.department, s.epoch, s.version, s.digest_hi, s.digest_lo, h.statement, w.fingerprint,
       (EXTRACT(EPOCH FROM h.known_at) * 1000)::bigint AS known
FROM (
    SELECT *, uuid_send(record_id) AS id
    FROM xinliu.shared_record WHERE state = 'SHARED' AND partition = %(partition)s AND domain = %(domain)s
) s
LEFT JOIN LATERAL (
    SELECT r.statement, r.writer, r.known_at
    FROM record_history r
    WHERE r.record_id = s.record_id AND r.province = %(own)s AND r.department = s.department
      AND (r.epoch, r.version, r.digest_hi, r.digest_lo) = (0, s.version, s.digest_hi, s.digest_lo)
    ORDER BY r.known_at, r.accepted_offset
    LIMIT 1
) h ON true
LEFT JOIN writer_schema w ON w.writer = h.writer
WHERE ((get_byte(id, 0) << 8) | get_byte(id, 1)) >> (16 - %(bits)s) = ANY(%(buckets)s)
ORDER BY s.record_id, s.department
