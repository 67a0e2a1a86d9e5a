-- The lines of one part.
CREATE TEMPORARY TABLE IF NOT EXISTS stated (
    record_id uuid PRIMARY KEY, version bigint NOT NULL, digest_hi bigint NOT NULL, digest_lo bigint NOT NULL
) ON COMMIT DELETE ROWS
