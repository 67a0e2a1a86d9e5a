-- Lines that can be compared: those of the newest compared manifest of their scope. newest is null if there is no such manifest,
-- false if another has replaced it.
SELECT l.department, l.domain, l.kind, l.manifest_id, l.part, l.body, m.state, m.bits, m.cutoff, m.first_period,
       m.last_period, m.held, m.outside, m.wanted,
       NOT EXISTS (
           SELECT FROM manifest x
           WHERE x.department = m.department AND x.domain = m.domain AND x.kind = m.kind
             AND x.compared_at > m.compared_at
       ) AS newest
FROM manifest_lines l
LEFT JOIN manifest m USING (department, domain, kind, manifest_id)
WHERE m.state IS DISTINCT FROM 'WAITING'
ORDER BY l.part
LIMIT 1
FOR UPDATE OF l SKIP LOCKED
