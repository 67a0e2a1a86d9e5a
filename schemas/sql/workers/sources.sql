-- What each source vouches for, what readers are told of it, and what of it waits in the quarantine.
SELECT f.department, EXTRACT(EPOCH FROM f.data_as_of)::double precision, j.state, f.open_quarantine
FROM source_freshness f CROSS JOIN LATERAL xinliu.judge_source(f.department, f.data_as_of, now()) j
