-- Buckets of records in whose rows of {relation} two generations differ, all these columns compared; PostgreSQL's own hash of 64 bits.
WITH old AS (
    SELECT uuid_hash(record_id) & %(mask)s AS bucket, count(*) AS rows, bit_xor(hash_record_extended(ROW ({columns}), 0)) AS digest
    FROM {old}.{relation} GROUP BY 1
), new AS (
    SELECT uuid_hash(record_id) & %(mask)s AS bucket, count(*) AS rows, bit_xor(hash_record_extended(ROW ({columns}), 0)) AS digest
    FROM {new}.{relation} GROUP BY 1
)
SELECT (SELECT COALESCE(sum(rows), 0)::bigint FROM old) AS old_rows, (SELECT COALESCE(sum(rows), 0)::bigint FROM new) AS new_rows,
       ARRAY(
           SELECT bucket FROM old FULL JOIN new USING (bucket)
           WHERE (old.rows, old.digest) IS DISTINCT FROM (new.rows, new.digest)
           ORDER BY bucket
       ) AS buckets
