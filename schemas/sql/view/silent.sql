-- Folding into a generation that does not serve notifies nobody: in this session `outbox` is a temporary table that keeps nothing.
-- PostgreSQL looks up a name without a schema among the temporary tables first.
DROP TABLE IF EXISTS pg_temp.outbox;
CREATE TEMPORARY TABLE outbox (LIKE outbox INCLUDING IDENTITY INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
