-- Withheld statements, which the current rules refuse or a cut-off names: listed for the diff instead of folded.
INSERT INTO replay_refused (record_id, version, digest_hi, digest_lo, uscc, department, accepted_partition, accepted_offset, findings)
SELECT record_id, version, digest_hi, digest_lo, uscc, department, accepted_partition, accepted_offset, findings
FROM jsonb_to_recordset(%s) AS w (
    record_id text, version bigint, digest_hi bigint, digest_lo bigint, uscc text, department text,
    accepted_partition smallint, accepted_offset bigint, findings jsonb
)
ON CONFLICT DO NOTHING
