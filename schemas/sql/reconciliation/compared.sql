-- The result of part 0. It also answers older manifests of its scope that still wait.
WITH compared AS (
    UPDATE manifest SET state = %(state)s, message = NULL, body = NULL, compared_at = %(now)s, held = %(held)s,
        held_hi = %(held_hi)s, held_lo = %(held_lo)s, outside = %(outside)s, wanted = %(wanted)s
    WHERE department = %(department)s AND domain = %(domain)s AND kind = %(kind)s AND manifest_id = %(manifest_id)s
)
UPDATE manifest SET state = 'SUPERSEDED', body = NULL
WHERE department = %(department)s AND domain = %(domain)s AND kind = %(kind)s AND state = 'WAITING'
  AND received_at <= %(received_at)s AND manifest_id <> %(manifest_id)s
RETURNING manifest_id
