-- Replace a province's applied checkpoints by its status; one that it no longer names (a view begun anew) is deleted.
WITH told AS (
    SELECT t.*
    FROM jsonb_to_recordset(%(applied)s) AS t (origin text, partition smallint, topic_id text, sequence bigint, "offset" bigint,
        made_at timestamptz, applied_at timestamptz, behind bigint, differs text[])
), gone AS (
    DELETE FROM xinliu.peer_status p
    WHERE p.province = %(province)s AND NOT EXISTS (SELECT FROM told t WHERE (t.origin, t.partition) = (p.origin, p.partition))
)
INSERT INTO xinliu.peer_status AS held (province, origin, partition, topic_id, sequence, "offset", made_at, applied_at, behind,
    differs, differs_since, told_at, received_at)
SELECT %(province)s, origin, partition, topic_id, sequence, "offset", made_at, applied_at, behind, differs,
       CASE WHEN differs <> '{}' THEN now() END, %(told_at)s, %(received_at)s
FROM told
ON CONFLICT (province, origin, partition) DO UPDATE
SET topic_id = excluded.topic_id, sequence = excluded.sequence, "offset" = excluded."offset", made_at = excluded.made_at,
    applied_at = excluded.applied_at, behind = excluded.behind, differs = excluded.differs,
    differs_since = CASE WHEN excluded.differs <> '{}' THEN COALESCE(held.differs_since, now()) END,
    told_at = excluded.told_at, received_at = excluded.received_at
