-- Entries, unchanged and in order; a parameter that is NULL is no condition.
SELECT sequence, topic_id, "offset", event_id, kind, department, by,
       to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, reason, detail::text, before::text, after::text,
       message, previous, hash, topic
FROM xinliu.audit
WHERE (%(since)s::timestamptz IS NULL OR at >= %(since)s)
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(by)s::text IS NULL OR by = %(by)s OR starts_with(by, %(by)s || '@'))
  AND (%(replay)s::text IS NULL OR starts_with(detail ->> 'replay', %(replay)s))
  AND (%(heads)s OR kind <> 'AUDIT_HEAD' OR %(kind)s::text IS NOT NULL)
ORDER BY topic, sequence
