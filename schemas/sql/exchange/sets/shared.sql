-- XOR of the shared digests in each bucket of a set of ours.
SELECT ((get_byte(id, 0) << 8) | get_byte(id, 1)) >> (16 - %(bits)s) AS bucket, bit_xor(digest_hi), bit_xor(digest_lo), count(*)
FROM (
    SELECT uuid_send(record_id) AS id, digest_hi, digest_lo
    FROM xinliu.shared_record WHERE state = 'SHARED' AND partition = %(partition)s AND domain = %(domain)s
) s
GROUP BY 1
