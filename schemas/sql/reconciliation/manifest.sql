-- One copy of part 0 of a manifest: every partition of the department's topic has one.
INSERT INTO manifest AS held (
    department, domain, kind, manifest_id, topic_id, fences, made_at, received_at, cutoff, first_period, last_period, bits,
    body, state, message, stated, stated_hi, stated_lo
)
VALUES (
    %(department)s, %(domain)s, %(kind)s, %(manifest_id)s, %(topic_id)s, %(fence)s, %(made_at)s, %(known_at)s, %(known_at)s,
    %(first_period)s, %(last_period)s, %(bits)s, %(body)s, %(state)s, %(message)s, %(stated)s, %(stated_hi)s, %(stated_lo)s
)
ON CONFLICT (department, domain, kind, manifest_id) DO UPDATE SET
    topic_id = excluded.topic_id,
    fences = CASE WHEN held.topic_id = excluded.topic_id THEN held.fences || excluded.fences ELSE excluded.fences END,
    received_at = LEAST(held.received_at, excluded.received_at),
    cutoff = GREATEST(held.cutoff, excluded.cutoff)
WHERE held.state = 'WAITING'
