-- Buckets of entities in which the credit views of two generations differ: number of rows, and the XOR of a hash of each (entity, province,
-- domain, counts and the digest of the records held). PostgreSQL's own hash of 64 bits: both sides are asked of one server.
WITH old AS (
    SELECT hashtext(uscc) & %(mask)s AS bucket, count(*) AS rows,
           bit_xor(hash_record_extended(ROW (uscc, province, domain, records, penalties, listings, digest_hi, digest_lo), 0)) AS digest
    FROM {old}.credit_view
    GROUP BY 1
), new AS (
    SELECT hashtext(uscc) & %(mask)s AS bucket, count(*) AS rows,
           bit_xor(hash_record_extended(ROW (uscc, province, domain, records, penalties, listings, digest_hi, digest_lo), 0)) AS digest
    FROM {new}.credit_view
    GROUP BY 1
)
SELECT (SELECT COALESCE(sum(rows), 0)::bigint FROM old) AS old_rows, (SELECT COALESCE(sum(rows), 0)::bigint FROM new) AS new_rows,
       ARRAY(
           SELECT bucket FROM old FULL JOIN new USING (bucket)
           WHERE (old.rows, old.digest) IS DISTINCT FROM (new.rows, new.digest)
           ORDER BY bucket
       ) AS buckets
