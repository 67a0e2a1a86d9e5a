-- XOR of the stored digests in each bucket of other provinces' sets; a bucket is the first bits of record_id (max. 16).
SELECT s.place, ((get_byte(r.id, 0) << 8) | get_byte(r.id, 1)) >> (16 - s.bits) AS bucket, bit_xor(r.digest_hi), bit_xor(r.digest_lo)
FROM unnest(%(provinces)s::text[], %(partitions)s::integer[], %(domains)s::text[], %(bits)s::integer[])
    WITH ORDINALITY AS s (province, partition, domain, bits, place)
JOIN (
    SELECT uuid_send(record_id) AS id, province, domain, uscc, digest_hi, digest_lo FROM record WHERE status <> 'WITHDRAWN'
) r ON r.province = s.province AND r.domain = s.domain AND xinliu.partition_of(r.uscc, %(all)s) = s.partition
GROUP BY 1, 2
