-- The conditions of a pass of the sweep: whether this generation serves, and the mutual domains with their days.
SELECT (SELECT generation FROM xinliu.serving) = %(generation)s,
       ARRAY(SELECT concat_ws(' ', domain, effective_from, effective_to) FROM xinliu.mutual_domain ORDER BY 1)
