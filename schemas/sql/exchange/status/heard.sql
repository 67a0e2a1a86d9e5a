-- Where reading goes on, and what was believed last.
SELECT province, topic_id, next_offset, told_at FROM xinliu.peer_heard
