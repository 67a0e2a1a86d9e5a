-- Store the open entries that were published now.
WITH told AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS m (partition smallint, uscc text, sequence bigint, entries jsonb)
), over AS (
    DELETE FROM xinliu.shared_pending p
    USING told t
    WHERE p.partition = t.partition AND p.uscc <> '' AND (
        (p.uscc = t.uscc AND t.entries = '[]')
        OR (t.uscc IS NULL AND p.sequence < t.sequence AND NOT EXISTS (
            SELECT FROM told again WHERE again.partition = p.partition AND again.uscc = p.uscc
        ))
    )
)
INSERT INTO xinliu.shared_pending AS held (partition, uscc, sequence, entries)
SELECT partition, uscc, sequence, entries FROM told WHERE entries <> '[]'
UNION ALL
SELECT partition, '', max(sequence), '[]' FROM told GROUP BY partition
ON CONFLICT (partition, uscc) DO UPDATE SET
    sequence = excluded.sequence, entries = excluded.entries, told_at = excluded.told_at
