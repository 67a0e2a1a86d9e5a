-- Whether the credit views of two generations are equal as a whole: the hash of buckets.sql without the buckets, in half the time.
SELECT old.rows, new.rows, (old.rows, old.digest) IS NOT DISTINCT FROM (new.rows, new.digest)
FROM (SELECT count(*) AS rows, bit_xor({hash}) AS digest FROM {old}.credit_view) old,
     (SELECT count(*) AS rows, bit_xor({hash}) AS digest FROM {new}.credit_view) new
