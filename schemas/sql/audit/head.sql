-- The end of a topic's chain, and the number of events behind the last head that covers it. Heads count only in the topic that
-- the workers write: in other topics they are events like any other.
SELECT head.sequence, head.topic_id, head."offset", head.hash,
       (SELECT count(*) FROM xinliu.audit later
        WHERE later.topic = head.topic AND NOT (later.kind = 'AUDIT_HEAD' AND later.topic = %(heads_in)s)
          AND later.sequence > COALESCE((SELECT max(CASE WHEN detail ->> 'sequence' ~ '^[0-9]{1,18}$'
                                                         THEN (detail ->> 'sequence')::bigint END)
                                         FROM xinliu.audit
                                         WHERE kind = 'AUDIT_HEAD' AND topic = %(heads_in)s
                                           AND COALESCE(detail ->> 'topic', 'operations') = head.topic), 0)) AS news
FROM xinliu.audit head
WHERE head.topic = %(topic)s
ORDER BY head.sequence DESC
LIMIT 1
