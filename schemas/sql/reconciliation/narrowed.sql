-- The buckets of a manifest that remain after the lines of some; EQUAL if none remains and no difference was named.
UPDATE manifest m
SET wanted = %(wanted)s,
    state = CASE WHEN named.any OR %(wanted)s::integer[] <> '{}' THEN 'DIFFERS' ELSE 'EQUAL' END
FROM (
    SELECT EXISTS (
        SELECT FROM record_difference d
        WHERE d.department = %(department)s AND d.domain = %(domain)s AND d.kind = %(kind)s
          AND d.manifest_id = %(manifest_id)s AND d.closed_at IS NULL
    ) AS any
) named
WHERE m.department = %(department)s AND m.domain = %(domain)s AND m.kind = %(kind)s AND m.manifest_id = %(manifest_id)s
RETURNING m.state
