-- Carries over the results of comparisons with departments' manifests; manifests that are no longer in the log stay known.
INSERT INTO manifest (
    department, domain, kind, manifest_id, topic_id, fences, made_at, received_at, cutoff, first_period, last_period, bits, body,
    state, message, compared_at, stated, stated_hi, stated_lo, held, held_hi, held_lo, outside, wanted
)
SELECT department, domain, kind, manifest_id, topic_id, fences, made_at, received_at, cutoff, first_period, last_period, bits, body,
       state, message, compared_at, stated, stated_hi, stated_lo, held, held_hi, held_lo, outside, wanted
FROM {old}.manifest
ON CONFLICT (department, domain, kind, manifest_id) DO UPDATE SET
    body = excluded.body, state = excluded.state, message = excluded.message, compared_at = excluded.compared_at,
    held = excluded.held, held_hi = excluded.held_hi, held_lo = excluded.held_lo, outside = excluded.outside,
    wanted = excluded.wanted
