-- Suspects that history contains already, byte for byte. One sort: one look-up each would scan a record with thousands of
-- versions in a batch thousands of times.
SELECT "row"
FROM (
    SELECT "row", bool_or("row" IS NULL) OVER (PARTITION BY record_id, epoch, version, digest_hi, digest_lo) AS held
    FROM (
        SELECT "row", record_id, epoch, version, digest_hi, digest_lo FROM suspect
        UNION ALL
        SELECT NULL, record_id, epoch, version, digest_hi, digest_lo
        FROM (SELECT DISTINCT record_id FROM suspect) s JOIN record_history h USING (record_id)
    ) told
) said
WHERE "row" IS NOT NULL AND held
