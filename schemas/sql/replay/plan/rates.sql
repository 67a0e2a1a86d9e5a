-- Rates of the last replay of a kind that was done and stored them; a rebuild stores one rate, of messages.
SELECT replay, changed_at, COALESCE(progress->'rates', jsonb_build_object('events', progress->'rate'))
FROM xinliu.replay
WHERE kind = %(kind)s AND state IN ('DONE', 'PROMOTED', 'ROLLED_BACK') AND (progress ? 'rates' OR progress ? 'rate')
ORDER BY changed_at DESC
LIMIT 1
