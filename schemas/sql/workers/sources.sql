-- The data-as-of of each source, its state as readers see it, and its open quarantine entries.
SELECT f.department, EXTRACT(EPOCH FROM f.data_as_of)::double precision, j.state, f.open_quarantine
FROM source_freshness f CROSS JOIN LATERAL xinliu.judge_source(f.department, f.data_as_of, now()) j
