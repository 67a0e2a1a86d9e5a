-- Buckets of entities in which the credit views of two generations differ: number of rows, and the XOR of a hash of each (entity, counts, and
-- the digest of the records held, which speaks of province and domain too). PostgreSQL's own hash of 64 bits: both sides are asked
-- of one server. A hash of whole rows took twice as long.
WITH old AS (
    SELECT hashtext(uscc) & %(mask)s AS bucket, count(*) AS rows,
           bit_xor(hashint8extended(digest_lo # records, hashtextextended(uscc, digest_hi # ((penalties::bigint << 32) | listings)))) AS digest
    FROM {old}.credit_view
    GROUP BY 1
), new AS (
    SELECT hashtext(uscc) & %(mask)s AS bucket, count(*) AS rows,
           bit_xor(hashint8extended(digest_lo # records, hashtextextended(uscc, digest_hi # ((penalties::bigint << 32) | listings)))) AS digest
    FROM {new}.credit_view
    GROUP BY 1
)
SELECT (SELECT COALESCE(sum(rows), 0)::bigint FROM old) AS old_rows, (SELECT COALESCE(sum(rows), 0)::bigint FROM new) AS new_rows,
       ARRAY(
           SELECT bucket FROM old FULL JOIN new USING (bucket)
           WHERE (old.rows, old.digest) IS DISTINCT FROM (new.rows, new.digest)
           ORDER BY bucket
       ) AS buckets
