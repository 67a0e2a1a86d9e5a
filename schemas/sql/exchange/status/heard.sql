-- Where reading goes on in each status topic, and the time of the last accepted status.
SELECT province, topic_id, next_offset, told_at FROM xinliu.peer_heard
