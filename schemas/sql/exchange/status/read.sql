-- Up to here a topic has been read; a topic that was made anew begins again, and what its province said before stands.
INSERT INTO xinliu.peer_heard AS held (province, topic_id, next_offset, refusals, refused_at, refusal)
VALUES (%(province)s, %(topic_id)s, %(next_offset)s, %(refusals)s, %(refused_at)s, %(refusal)s)
ON CONFLICT (province) DO UPDATE
SET topic_id = excluded.topic_id, next_offset = excluded.next_offset, refusals = held.refusals + excluded.refusals,
    refused_at = COALESCE(excluded.refused_at, held.refused_at), refusal = COALESCE(excluded.refusal, held.refusal)
