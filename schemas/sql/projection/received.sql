-- Repeated statements that were received earlier than the stored one: the earlier time counts, whatever the order. One sort, as in
-- repeated.sql: one look-up each would scan a record with thousands of versions thousands of times.
UPDATE record_history h
SET received_at = earlier.received_at
FROM (
    SELECT place, held_at, min(told_at) OVER (PARTITION BY record_id, epoch, version, digest_hi, digest_lo) AS received_at
    FROM (
        SELECT NULL::tid AS place, NULL::timestamptz AS held_at, received_at AS told_at,
               record_id, epoch, version, digest_hi, digest_lo
        FROM suspect
        UNION ALL
        SELECT h.ctid, h.received_at, NULL, record_id, h.epoch, h.version, h.digest_hi, h.digest_lo
        FROM (SELECT DISTINCT record_id FROM suspect) s JOIN record_history h USING (record_id)
    ) told
) earlier
WHERE h.ctid = earlier.place AND earlier.held_at > earlier.received_at
