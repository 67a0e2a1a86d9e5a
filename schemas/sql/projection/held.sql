-- Stored rows of a batch's records, locked in the order of their keys: the deltas are computed from them.
SELECT uuid_send(record_id) AS record_id, province, department, epoch, version, digest_hi, digest_lo, uscc, domain, status,
       status = 'IN_FORCE' AND kind = 'PENALTY' AS penalty,
       status = 'IN_FORCE' AND kind = 'LISTING' AND listing_removed_on IS NULL AS listing
FROM record
WHERE record_id = ANY(%s)
ORDER BY record_id, province, department
FOR NO KEY UPDATE
