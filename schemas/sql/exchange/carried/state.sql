INSERT INTO xinliu.case_state (
    case_id, lead, procedure, uscc, record_id, record_province, department, state, opened_at, opened_version, accepted_at,
    forwarded_at, answered_at, outcome, answer_version, answer_digest_hi, answer_digest_lo, ended_at, events, void
)
VALUES (
    %(case_id)s, %(lead)s, %(procedure)s, %(uscc)s, %(record_id)s, %(record_province)s, %(department)s, %(state)s, %(opened_at)s,
    %(opened_version)s, %(accepted_at)s, %(forwarded_at)s, %(answered_at)s, %(outcome)s, %(answer_version)s, %(answer_digest_hi)s,
    %(answer_digest_lo)s, %(ended_at)s, %(events)s, %(void)s
)
ON CONFLICT (case_id) DO UPDATE
SET (lead, procedure, uscc, record_id, record_province, department, state, opened_at, opened_version, accepted_at, forwarded_at,
     answered_at, outcome, answer_version, answer_digest_hi, answer_digest_lo, ended_at, events, void, changed_at)
    = (excluded.lead, excluded.procedure, excluded.uscc, excluded.record_id, excluded.record_province, excluded.department,
       excluded.state, excluded.opened_at, excluded.opened_version, excluded.accepted_at, excluded.forwarded_at,
       excluded.answered_at, excluded.outcome,
       excluded.answer_version, excluded.answer_digest_hi, excluded.answer_digest_lo, excluded.ended_at, excluded.events,
       excluded.void, clock_timestamp())
