-- Scratch tables of a rebuild in the generation that it fills; dropped once that is READY.
CREATE TABLE rebuild_phase (phase text PRIMARY KEY, done_at timestamptz NOT NULL DEFAULT clock_timestamp());
-- Bounds of the fill in each log, and its numbers of folded messages and of empty offsets (compaction).
CREATE TABLE rebuild_log (
    topic     text NOT NULL,
    partition integer NOT NULL,
    end_offset bigint NOT NULL,
    first_offset bigint NOT NULL,
    holes     bigint NOT NULL DEFAULT 0,
    folded    bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
);
-- Indexes and keys that wait until the tables are full.
CREATE TABLE rebuild_index (place integer PRIMARY KEY, name text NOT NULL, statement text NOT NULL);
-- Statements that no table can store.
CREATE TABLE rebuild_unstorable (partition integer NOT NULL, "offset" bigint NOT NULL, reason text NOT NULL);
-- Offsets in accepted of the newest checkpoint and the last statement of each partition of another province.
CREATE TABLE rebuild_foreign (
    province text NOT NULL, partition smallint NOT NULL, made_at timestamptz, checkpoint_offset bigint, statement_offset bigint,
    PRIMARY KEY (province, partition)
);

INSERT INTO rebuild_index (place, name, statement)
SELECT row_number() OVER (ORDER BY i.indrelid::regclass::text DESC, NOT i.indisprimary, c.relname), c.relname,
       CASE WHEN k.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
            ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', i.indrelid::regclass, k.conname, pg_get_constraintdef(k.oid)) END
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype = 'p'
WHERE i.indrelid IN ('record'::regclass, 'record_history'::regclass);

ALTER TABLE record DROP CONSTRAINT record_pkey, SET (autovacuum_enabled = false);
ALTER TABLE record_history SET (autovacuum_enabled = false);
DO $$
DECLARE one text;
BEGIN
    FOR one IN SELECT name FROM rebuild_index WHERE statement NOT LIKE 'ALTER%' LOOP
        EXECUTE format('DROP INDEX %I', one);
    END LOOP;
END $$;
