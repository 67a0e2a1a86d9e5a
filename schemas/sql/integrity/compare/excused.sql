-- Places of `accepted` whose statements history need not have: those that PostgreSQL could not store, and those that today's
-- rules refused when this generation was filled.
SELECT quarantine_partition::integer, quarantine_offset
FROM quarantine q
WHERE EXISTS (SELECT FROM jsonb_array_elements(q.findings) f WHERE f->>'code' IN ('STORE_REFUSED', 'REPLAY_REFUSED'))
UNION
SELECT accepted_partition::integer, accepted_offset FROM replay_refused
