-- Scopes of the cut-offs that were begun: each is an approved plan that has been run, or runs.
SELECT scope FROM xinliu.replay WHERE (scope ->> 'cut_off')::boolean AND state IN ('RUNNING', 'DONE') ORDER BY planned_at, replay
