-- What is folded into a generation that does not serve is told to nobody: in this session `outbox` is a table that keeps nothing.
-- A name without a schema is looked for among the temporary tables first.
DROP TABLE IF EXISTS pg_temp.outbox;
CREATE TEMPORARY TABLE outbox (LIKE outbox INCLUDING IDENTITY INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
