-- Carries over all differences from departments' manifests, open and closed.
INSERT INTO record_difference (
    department, domain, kind, record_id, difference, stated_version, held_version, reasons, first_period, last_period, manifest_id,
    opened_at, closed_at
)
SELECT department, domain, kind, record_id, difference, stated_version, held_version, reasons, first_period, last_period,
       manifest_id, opened_at, closed_at
FROM {old}.record_difference
