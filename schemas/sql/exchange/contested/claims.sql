-- Claims of provinces that an entity is registered with them, without those that begin later; the current one first.
SELECT province, name, since, until, current, COALESCE(until > (now() AT TIME ZONE 'Asia/Shanghai')::date, true) AS open
FROM registration
WHERE uscc = %s AND since <= (now() AT TIME ZONE 'Asia/Shanghai')::date
ORDER BY current DESC, since DESC, province
