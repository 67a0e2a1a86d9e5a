-- Scopes of the cut-offs in force: each is an approved plan that runs or has run.
SELECT scope FROM xinliu.replay WHERE (scope ->> 'cut_off')::boolean AND state IN ('RUNNING', 'DONE') ORDER BY planned_at, replay
