-- Buckets of entities or records ({key}) in which the rows of {relation} differ between two generations, by their number and the XOR
-- of a hash of each ({hash}). PostgreSQL's own hashes of 64 bits suffice: both sides are on one server.
WITH old AS (
    SELECT {key} & %(mask)s AS bucket, count(*) AS rows, bit_xor({hash}) AS digest FROM {old}.{relation} GROUP BY 1
), new AS (
    SELECT {key} & %(mask)s AS bucket, count(*) AS rows, bit_xor({hash}) AS digest FROM {new}.{relation} GROUP BY 1
)
SELECT (SELECT COALESCE(sum(rows), 0)::bigint FROM old) AS old_rows, (SELECT COALESCE(sum(rows), 0)::bigint FROM new) AS new_rows,
       ARRAY(
           SELECT bucket FROM old FULL JOIN new USING (bucket)
           WHERE (old.rows, old.digest) IS DISTINCT FROM (new.rows, new.digest)
           ORDER BY bucket
       ) AS buckets
