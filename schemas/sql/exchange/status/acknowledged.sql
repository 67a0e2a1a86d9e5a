-- Our checkpoints that this province has applied: every duty before them is done there.
UPDATE xinliu.exchange_duty d
SET acknowledged_at = s.applied_at, told_at = s.told_at, received_at = s.received_at
FROM xinliu.peer_status s
JOIN xinliu.installation i ON i.province = s.origin
WHERE s.province = %(province)s AND d.province = s.province AND d.partition = s.partition AND d.topic_id = s.topic_id
  AND d.sequence <= s.sequence AND d.acknowledged_at IS NULL
RETURNING d.record_id
