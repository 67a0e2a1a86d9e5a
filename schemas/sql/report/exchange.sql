-- How far the provinces have applied what the others share (docs/exchange.md), as they say themselves; of no generation.
CREATE VIEW report.exchange_heard AS SELECT * FROM xinliu.exchange_heard;

CREATE VIEW report.exchange_published AS SELECT * FROM xinliu.exchange_published;

CREATE VIEW report.exchange_matrix AS SELECT * FROM xinliu.exchange_matrix;

-- Repairs, revocations and withdrawals that others must apply, and when each did: state OPEN, OVERDUE or ACKNOWLEDGED.
CREATE VIEW report.exchange_duty AS SELECT * FROM xinliu.exchange_duty_state;
