-- Number of statements in the history of a slice of records, and the XOR of their digests, each once. Not counted: erased
-- statements, those behind the offsets that the log was read to, and those that this province itself took out of another's set
-- (streams/exchange/sets/requests.py).
SELECT count(*)::bigint, COALESCE(bit_xor(digest_hi), 0), COALESCE(bit_xor(digest_lo), 0)
FROM (
    SELECT DISTINCT record_id, epoch, version, digest_hi, digest_lo
    FROM record_history h
    LEFT JOIN unnest(%(partitions)s::smallint[], %(read)s::bigint[]) AS l (partition, read) ON l.partition = h.accepted_partition
    WHERE record_id BETWEEN %(first)s AND %(last)s AND statement IS NOT NULL
      AND (l.read IS NULL OR accepted_offset < l.read)
      AND NOT (accepted_offset = -1 AND status = 'WITHDRAWN' AND epoch > 0 AND province <> %(own)s)
) s
