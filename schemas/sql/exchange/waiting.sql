-- The oldest entries that wait to be told to the other provinces, each with its statement in history: NULL where a revocation
-- has erased it since, and where there is none.
SELECT w.id, e.entry, h.statement, h.writer, (EXTRACT(EPOCH FROM h.known_at) * 1000)::bigint AS known,
       h.record_id IS NOT NULL AS recorded
FROM (SELECT id, payload FROM outbox WHERE kind = 'EXCHANGE' ORDER BY id LIMIT %(limit)s) w
CROSS JOIN LATERAL jsonb_array_elements(w.payload) WITH ORDINALITY AS e (entry, place)
LEFT JOIN LATERAL (
    SELECT r.record_id, r.statement, r.writer, r.known_at
    FROM record_history r
    WHERE r.record_id = (e.entry ->> 2)::uuid AND r.province = %(province)s AND r.department = e.entry ->> 3
      AND (r.epoch, r.version, r.digest_hi, r.digest_lo)
          = (0, (e.entry ->> 5)::bigint, (e.entry ->> 6)::bigint, (e.entry ->> 7)::bigint)
    ORDER BY r.known_at, r.accepted_offset
    LIMIT 1
) h ON true
ORDER BY w.id, e.place
