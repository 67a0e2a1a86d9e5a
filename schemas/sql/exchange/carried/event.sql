INSERT INTO xinliu.case_event (
    case_id, event_id, kind, province, said_by, at, procedure, uscc, record_id, record_province, department, reason, outcome,
    version, digest, answer, step, due, working_days, content, recorded_at, body, fingerprint
)
VALUES (
    %(case_id)s, %(event_id)s, %(kind)s, %(province)s, %(by)s, %(at)s, %(procedure)s, %(uscc)s, %(record_id)s,
    %(record_province)s, %(department)s, %(reason)s, %(outcome)s, %(version)s, %(digest)s, %(answer)s, %(step)s, %(due)s,
    %(working_days)s, %(content)s, %(recorded_at)s, %(body)s, %(fingerprint)s
)
ON CONFLICT DO NOTHING
