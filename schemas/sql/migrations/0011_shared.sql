-- What operators decided about contested registrations is found by entity; every statement may be run again.
CREATE INDEX IF NOT EXISTS audit_settled ON xinliu.audit ((detail ->> 'uscc') COLLATE "C", sequence) WHERE kind = 'REGISTRATION_SETTLED';
