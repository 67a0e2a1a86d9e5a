-- Opens differences that a manifest names; one that is open already keeps its first time.
INSERT INTO record_difference AS held (
    department, domain, kind, record_id, difference, stated_version, held_version, reasons, first_period, last_period,
    manifest_id, opened_at
)
SELECT %(department)s, %(domain)s, %(kind)s, record_id, difference, stated_version, held_version, reasons,
       %(first_period)s, %(last_period)s, %(manifest_id)s, %(now)s
FROM jsonb_to_recordset(%(rows)s) AS told (
    record_id uuid, difference text, stated_version bigint, held_version bigint, reasons jsonb
)
ON CONFLICT (department, domain, kind, record_id) WHERE closed_at IS NULL DO UPDATE SET
    difference = excluded.difference, stated_version = excluded.stated_version, held_version = excluded.held_version,
    reasons = excluded.reasons, manifest_id = excluded.manifest_id
