WITH told AS (
    SELECT t.partition, t.sequence, t."offset", t.made_at
    FROM jsonb_to_recordset(%(published)s) AS t (partition smallint, sequence bigint, "offset" bigint, made_at timestamptz)
), gone AS (
    DELETE FROM xinliu.peer_published p
    WHERE p.province = %(province)s AND p.partition NOT IN (SELECT partition FROM told)
)
INSERT INTO xinliu.peer_published (province, partition, sequence, "offset", made_at)
SELECT %(province)s, partition, sequence, "offset", made_at FROM told
ON CONFLICT (province, partition) DO UPDATE
SET sequence = excluded.sequence, "offset" = excluded."offset", made_at = excluded.made_at
