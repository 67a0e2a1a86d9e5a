-- Cases (异议, 更正, 更新, 修复) across provinces, for readers (docs/cases.md).

-- What each case has come to, and what is held of its record.
CREATE VIEW report.case_standing AS
SELECT case_id, lead, procedure, uscc, record_id, record_province, department, state, opened_at, accepted_at, forwarded_at,
       answered_at, outcome, answer_version, ended_at, record_status, held_version, disputed_since, marked_at, arrived_at,
       registered_in, led_rightly
FROM serving.case_standing;

-- Every event, for what was known at an earlier time.
CREATE VIEW report.case_event AS
SELECT case_id, event_id, kind, province, said_by, at, procedure, uscc, record_id, record_province, department, reason, outcome,
       version, digest, answer, step, due, working_days, recorded_at
FROM xinliu.case_event;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'xinliu_reader') THEN
        GRANT SELECT ON report.case_standing, report.case_event TO xinliu_reader;
    END IF;
END
$$;
