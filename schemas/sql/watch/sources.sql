-- What each source vouches for, whether readers are told that it is silent, and what of it waits in the quarantine.
SELECT f.department,
       EXTRACT(EPOCH FROM f.data_as_of)::double precision AS data_as_of,
       COALESCE(f.data_as_of < now() - (SELECT silent_after FROM xinliu.freshness), true) AS silent,
       f.open_quarantine
FROM source_freshness f
