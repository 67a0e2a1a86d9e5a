-- What history makes of the records that are looked at.
CREATE TEMPORARY TABLE expected ON COMMIT DELETE ROWS AS SELECT * FROM record WITH NO DATA;
-- What the log says of records whose history contradicts itself.
CREATE TEMPORARY TABLE told ON COMMIT DELETE ROWS AS SELECT * FROM record_history WITH NO DATA;
