-- Own records to decide about: their newest statements, as the batch left them.
CREATE TEMPORARY TABLE IF NOT EXISTS asked (
    record_id uuid, department text, uscc text COLLATE "C", domain text COLLATE "C", kind text, status text,
    version bigint, digest_hi bigint, digest_lo bigint, partition smallint
) ON COMMIT DELETE ROWS
