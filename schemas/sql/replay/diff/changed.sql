-- Records that differ between two generations, each with the fields that differ. {chosen_old} and {chosen_new} select the rows to
-- compare, {differs} is the condition of a difference. later: one side has folded a statement that the other has not reached yet.
-- codes: the rules' reasons to refuse the old statement, if the new generation was filled by them.
INSERT INTO changed
SELECT record_id, province, COALESCE(o.department, n.department), COALESCE(o.domain, n.domain), o.uscc, n.uscc,
       CASE WHEN f.codes IS NOT NULL AND n.version IS DISTINCT FROM o.version THEN 'REFUSED'
            WHEN o.record_id IS NULL THEN 'APPEARS'
            WHEN n.record_id IS NULL THEN 'DISAPPEARS'
            WHEN o.status <> n.status THEN 'STATUS'
            ELSE 'CHANGES' END,
       o.status, n.status, o.version, n.version, COALESCE(f.codes, ARRAY[]::text[]),
       (SELECT COALESCE(jsonb_object_agg(key, jsonb_build_array(one.value, other.value)), '{{}}')
        FROM jsonb_each(COALESCE(to_jsonb(o), '{{}}')) one FULL JOIN jsonb_each(COALESCE(to_jsonb(n), '{{}}')) other USING (key)
        WHERE o.record_id IS NOT NULL AND n.record_id IS NOT NULL AND key = ANY(%(common)s) AND one.value IS DISTINCT FROM other.value),
       EXISTS (
           SELECT FROM unnest(%(partitions)s::integer[], %(reached)s::bigint[]) AS p (partition, reached)
           JOIN LATERAL (
               SELECT accepted_partition, accepted_offset FROM {old}.record_history h WHERE h.record_id = COALESCE(o.record_id, n.record_id)
               UNION ALL
               SELECT accepted_partition, accepted_offset FROM {new}.record_history h WHERE h.record_id = COALESCE(o.record_id, n.record_id)
           ) h ON h.accepted_partition = p.partition AND h.accepted_offset >= p.reached
       )
FROM (SELECT r.* FROM {old}.record r WHERE {chosen_old}) o
FULL JOIN (SELECT r.* FROM {new}.record r WHERE {chosen_new}) n USING (record_id, province, department)
LEFT JOIN (
    SELECT w.record_id::uuid AS refused, w.department, w.version, w.digest_hi, w.digest_lo, array_agg(DISTINCT e->>'code') AS codes
    FROM {new}.replay_refused w, jsonb_array_elements(w.findings) e
    WHERE w.record_id ~ '^[0-9a-f]{{32}}$'
    GROUP BY 1, 2, 3, 4, 5
) f ON (f.refused, f.department, f.version, f.digest_hi, f.digest_lo) = (o.record_id, o.department, o.version, o.digest_hi, o.digest_lo)
WHERE {differs}
