-- The newest statement of each record in a batch lands in stage first; "row" is its place in the batch. suspect holds every
-- statement of the batch about a record that was there before or that the batch speaks of more than once.
CREATE TEMPORARY TABLE stage ON COMMIT DELETE ROWS AS SELECT 0::integer AS "row", record.* FROM record WITH NO DATA;
CREATE TEMPORARY TABLE suspect ON COMMIT DELETE ROWS AS
SELECT 0::integer AS "row", record_id, version, digest_hi, digest_lo, status, reason, uscc FROM record WITH NO DATA;
