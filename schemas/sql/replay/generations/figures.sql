-- Figures of a generation: number and set digest of its records, and its positions in the logs.
SELECT count(*), COALESCE(bit_xor(digest_hi), 0), COALESCE(bit_xor(digest_lo), 0),
       (SELECT jsonb_object_agg(topic || '/' || partition, next_offset) FROM position WHERE next_offset > 0)
FROM record
