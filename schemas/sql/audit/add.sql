-- Adds an entry.
INSERT INTO xinliu.audit (sequence, topic_id, "offset", event_id, kind, department, by, at, reason, detail, before, after, message,
                          previous, hash, topic)
VALUES (%(sequence)s, %(topic_id)s, %(offset)s, %(event_id)s, %(kind)s, %(department)s, %(by)s, %(at)s::timestamptz, %(reason)s,
        %(detail)s::json, %(before)s::json, %(after)s::json, %(message)s, %(previous)s, %(hash)s, %(topic)s)
