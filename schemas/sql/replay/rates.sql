-- The last replay of a kind that was done and has kept how fast it was.
SELECT replay, changed_at, progress->'rates'
FROM xinliu.replay
WHERE kind = %(kind)s AND state IN ('DONE', 'PROMOTED', 'ROLLED_BACK') AND progress->'rates' IS NOT NULL
ORDER BY changed_at DESC
LIMIT 1
