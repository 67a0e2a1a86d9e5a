-- Records that are alike in two generations but differ in history: each with the statements of either history that the other lacks, or
-- has with other values ({differs}; of the columns %(common)s). A statement's bytes are shown as their hash, or ERASED. Statements
-- that only one generation has reached yet are left out; codes: the rules' reasons to refuse statements that the new one lacks.
WITH o AS (
    SELECT * FROM {old}.record_history WHERE uuid_hash(record_id) & %(mask)s = ANY(%(buckets)s)
), n AS (
    SELECT * FROM {new}.record_history WHERE uuid_hash(record_id) & %(mask)s = ANY(%(buckets)s)
), differing AS (
    SELECT record_id, province, department, version, digest_hi, digest_lo,
           to_jsonb(o) || jsonb_build_object('statement', COALESCE(encode(sha256(o.statement), 'hex'), 'ERASED')) AS was,
           to_jsonb(n) || jsonb_build_object('statement', COALESCE(encode(sha256(n.statement), 'hex'), 'ERASED')) AS becomes
    FROM o FULL JOIN n USING (record_id, province, department, epoch, version, digest_hi, digest_lo)
    WHERE {differs}
      AND NOT EXISTS (
          SELECT FROM unnest(%(partitions)s::integer[], %(reached)s::bigint[]) AS p (partition, reached)
          WHERE COALESCE(o.accepted_partition, n.accepted_partition) = p.partition
            AND COALESCE(o.accepted_offset, n.accepted_offset) >= p.reached
      )
), refused AS (
    SELECT d.record_id, d.province, d.department, array_agg(DISTINCT e->>'code') AS codes
    FROM differing d
    JOIN {new}.replay_refused w ON (w.record_id, w.department, w.version, w.digest_hi, w.digest_lo)
        = (replace(d.record_id::text, '-', ''), d.department, d.version, d.digest_hi, d.digest_lo)
    CROSS JOIN jsonb_array_elements(w.findings) e
    WHERE d.becomes IS NULL
    GROUP BY 1, 2, 3
), told AS (
    SELECT d.record_id, d.province, d.department,
           COALESCE(jsonb_agg(x.was ORDER BY d.version, d.digest_hi, d.digest_lo) FILTER (WHERE d.was IS NOT NULL), '[]') AS was,
           COALESCE(jsonb_agg(x.becomes ORDER BY d.version, d.digest_hi, d.digest_lo) FILTER (WHERE d.becomes IS NOT NULL), '[]') AS becomes
    FROM differing d
    CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(key, d.was -> key) AS was, jsonb_object_agg(key, d.becomes -> key) AS becomes
        FROM unnest(%(common)s::text[]) AS c (key)
        WHERE key = 'version' OR d.was -> key IS DISTINCT FROM d.becomes -> key
    ) x
    GROUP BY 1, 2, 3
)
INSERT INTO changed
SELECT record_id, province, department, COALESCE(n.domain, o.domain, ''), COALESCE(o.uscc, n.uscc), COALESCE(n.uscc, o.uscc), 'HISTORY',
       o.status, n.status, o.version, n.version, COALESCE(f.codes, ARRAY[]::text[]),
       jsonb_build_object('history', jsonb_build_array(t.was, t.becomes)), false
FROM told t
LEFT JOIN {old}.record o USING (record_id, province, department)
LEFT JOIN {new}.record n USING (record_id, province, department)
LEFT JOIN refused f USING (record_id, province, department)
WHERE NOT EXISTS (
    SELECT FROM changed c WHERE (c.record_id, c.province, c.department) = (t.record_id, t.province, t.department)
)
