-- As 0005_shared.sql, in a generation.
ALTER TABLE writer_schema SET (autovacuum_analyze_threshold = 0);
ANALYZE writer_schema;
