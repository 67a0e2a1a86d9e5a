-- A manifest whose copies have come from every partition and whose every watermark has passed it: messages published before it
-- are visible or refused. Locked, so that no two workers answer it. Within a department the newest comes first, since it replaces
-- the others; among departments the one that has waited longest, so that none starves the others.
SELECT m.department, m.body, m.received_at
FROM manifest m
WHERE m.state = 'WAITING' AND EXISTS (
    SELECT FROM source s
    WHERE s.department = m.department AND s.topic_id = m.topic_id AND NOT EXISTS (
        SELECT FROM generate_series(0, s.partitions - 1) AS p (partition)
        LEFT JOIN watermark w ON w.topic = s.topic AND w.topic_id = s.topic_id AND w.partition = p.partition
        WHERE COALESCE(w.next_offset <= (m.fences ->> p.partition::text)::bigint, true)
    )
)
ORDER BY (SELECT max(x.compared_at) FROM manifest x WHERE x.department = m.department) NULLS FIRST, m.received_at DESC
LIMIT 1
FOR UPDATE OF m SKIP LOCKED
