-- Registrations that contest the current one, the newest first, with the one that they contest.
SELECT r.uscc, h.province AS held_by, h.name AS held_name, h.since AS held_since, r.province AS claimed_by, r.name AS claimed_name,
       r.since AS claimed_since, r.until AS claimed_until, r.known_at
FROM (SELECT uscc FROM record WHERE kind = 'REGISTRATION' GROUP BY uscc HAVING count(*) > 1) several
JOIN registration r ON r.uscc = several.uscc AND r.contested
JOIN registration h ON h.uscc = several.uscc AND h.current
ORDER BY r.known_at DESC, r.uscc, r.province
