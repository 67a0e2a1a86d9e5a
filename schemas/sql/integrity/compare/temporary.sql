-- The rows that follow from the history of the compared records.
CREATE TEMPORARY TABLE expected ON COMMIT DELETE ROWS AS SELECT * FROM record WITH NO DATA;
-- The log's statements about records whose history contradicts itself.
CREATE TEMPORARY TABLE told ON COMMIT DELETE ROWS AS SELECT * FROM record_history WITH NO DATA;
