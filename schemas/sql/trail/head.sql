-- Where the audit ends, and how many events there are behind the last anchored head.
SELECT head.sequence, head.topic_id, head."offset", head.hash,
       (SELECT count(*) FROM xinliu.audit later
        WHERE later.sequence > COALESCE((SELECT max(sequence) FROM xinliu.audit WHERE kind = 'AUDIT_HEAD'), 0)) AS news
FROM xinliu.audit head
ORDER BY head.sequence DESC
LIMIT 1
