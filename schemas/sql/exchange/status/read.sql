-- Store how far a topic has been read; a recreated topic begins again, and its province's last status stays valid.
INSERT INTO xinliu.peer_heard AS held (province, topic_id, next_offset, refusals, refused_at, refusal)
VALUES (%(province)s, %(topic_id)s, %(next_offset)s, %(refusals)s, %(refused_at)s, %(refusal)s)
ON CONFLICT (province) DO UPDATE
SET topic_id = excluded.topic_id, next_offset = excluded.next_offset, refusals = held.refusals + excluded.refusals,
    refused_at = COALESCE(excluded.refused_at, held.refused_at), refusal = COALESCE(excluded.refusal, held.refusal)
