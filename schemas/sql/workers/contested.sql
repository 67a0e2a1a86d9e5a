-- Entities whose registration provinces contest. Only those with several registrations are examined: the index alone finds them,
-- and there are few.
SELECT count(*)
FROM (SELECT uscc FROM record WHERE kind = 'REGISTRATION' GROUP BY uscc HAVING count(*) > 1) several
WHERE EXISTS (SELECT FROM registration r WHERE r.uscc = several.uscc AND r.contested)
