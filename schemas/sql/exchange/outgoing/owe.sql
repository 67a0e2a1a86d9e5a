-- One row for each other province; a statement published twice keeps its first checkpoint, if that is of the same log.
INSERT INTO xinliu.exchange_duty AS held (record_id, department, epoch, version, status, province, uscc, domain, partition, topic_id,
    sequence, published_at, due_at)
SELECT DISTINCT ON (d.record_id, d.department, d.epoch, d.version, d.status, p.province)
       d.record_id, d.department, d.epoch, d.version, d.status, p.province, d.uscc, d.domain, d.partition, d.topic_id, d.sequence,
       %(published_at)s::timestamptz, xinliu.exchange_due(p.province, %(published_at)s)
FROM jsonb_to_recordset(%(rows)s) AS d (record_id uuid, department text, epoch bigint, version bigint, status text, uscc text,
    domain text, partition smallint, topic_id text, sequence bigint)
CROSS JOIN xinliu.province p
JOIN xinliu.installation i ON i.province <> p.province
ORDER BY d.record_id, d.department, d.epoch, d.version, d.status, p.province, d.sequence
ON CONFLICT (record_id, department, epoch, version, status, province) DO UPDATE
SET partition = excluded.partition, topic_id = excluded.topic_id, sequence = excluded.sequence
WHERE held.acknowledged_at IS NULL AND held.topic_id <> excluded.topic_id
