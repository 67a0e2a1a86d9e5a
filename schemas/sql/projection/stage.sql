-- Temporary tables of a batch. stage: statements that outrank the stored ones; delta: gains and losses of entities; suspect:
-- every statement about a record that was stored before or occurs more than once in the batch, and first statements whose reason is
-- not PUBLISHED; twin: new records with the content of another one.
CREATE TEMPORARY TABLE stage ON COMMIT DELETE ROWS AS SELECT * FROM record WITH NO DATA;
CREATE TEMPORARY TABLE delta ON COMMIT DELETE ROWS AS SELECT * FROM credit_view WITH NO DATA;
CREATE TEMPORARY TABLE suspect ON COMMIT DELETE ROWS AS
SELECT 0::integer AS "row", record_id, province, department, epoch, version, digest_hi, digest_lo, status, reason, uscc,
       false AS disputed, false AS removed, 0::smallint AS accepted_partition, known_at AS received_at
FROM record WITH NO DATA;
CREATE TEMPORARY TABLE twin ON COMMIT DELETE ROWS AS
SELECT 0::integer AS "row", record_id, version, content_key, uscc, department,
       COALESCE(penalty_document_number, listing_entry_id) AS number
FROM record WITH NO DATA;
