-- Stores differences; one that is open already keeps its first time.
INSERT INTO row_difference (relation, record_id, uscc, province, department, domain, partition, difference, fields, found_at)
SELECT relation, record_id, uscc, province, department, domain, partition, difference, fields, clock_timestamp()
FROM jsonb_to_recordset(%(rows)s) AS f (
    relation text, record_id uuid, uscc text, province text, department text, domain text, partition smallint, difference text,
    fields text[]
)
ON CONFLICT DO NOTHING
