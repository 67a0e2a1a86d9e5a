-- Upsert another province's open entries: of two messages about one entity, or two that end everything older, the
-- higher sequence wins, whatever came first.
INSERT INTO foreign_pending AS held (province, partition, uscc, sequence, at, entries)
SELECT DISTINCT ON (province, partition, uscc) province, partition, uscc, sequence, at, entries
FROM jsonb_to_recordset(%(rows)s) AS m (
    province text, partition smallint, uscc text, sequence bigint, at timestamptz, entries jsonb
)
ORDER BY province, partition, uscc, sequence DESC
ON CONFLICT (uscc, province, partition) DO UPDATE SET
    sequence = excluded.sequence, at = excluded.at, entries = excluded.entries
WHERE excluded.sequence > held.sequence
