-- Set digest and time of the last change of these entities; an entity without a record has the digest 0.
SELECT u.uscc, COALESCE(bit_xor(v.digest_hi), 0), COALESCE(bit_xor(v.digest_lo), 0), max(v.changed_at)
FROM unnest(%(uscc)s::text[]) AS u (uscc)
LEFT JOIN credit_view v USING (uscc)
GROUP BY u.uscc
