-- The last replay of a kind that was done and has kept how fast it was; a rebuild keeps one figure, of messages.
SELECT replay, changed_at, COALESCE(progress->'rates', jsonb_build_object('events', progress->'rate'))
FROM xinliu.replay
WHERE kind = %(kind)s AND state IN ('DONE', 'PROMOTED', 'ROLLED_BACK') AND (progress ? 'rates' OR progress ? 'rate')
ORDER BY changed_at DESC
LIMIT 1
