-- The oldest outbox entries for the other provinces, each with its statement in history: NULL if a revocation has
-- erased it since, or if there is none.
SELECT w.id, e.line, h.statement, h.writer, (EXTRACT(EPOCH FROM h.known_at) * 1000)::bigint AS known,
       h.record_id IS NOT NULL AS recorded
FROM (SELECT id, payload FROM outbox WHERE kind = 'EXCHANGE' ORDER BY id LIMIT %(limit)s) w
CROSS JOIN LATERAL string_to_table(w.payload #>> '{}', E'\n') WITH ORDINALITY AS e (line, place)
LEFT JOIN LATERAL (
    SELECT r.record_id, r.statement, r.writer, r.known_at
    FROM record_history r
    WHERE r.record_id = split_part(e.line, '|', 3)::uuid AND r.province = %(province)s AND r.department = split_part(e.line, '|', 4)
      AND (r.epoch, r.version, r.digest_hi, r.digest_lo)
          = (0, split_part(e.line, '|', 6)::bigint, split_part(e.line, '|', 7)::bigint, split_part(e.line, '|', 8)::bigint)
    ORDER BY r.known_at, r.accepted_offset
    LIMIT 1
) h ON true
ORDER BY w.id, e.place
