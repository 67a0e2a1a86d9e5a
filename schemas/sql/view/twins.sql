-- New records that state what another record of the department, of this province, states: possibly the same decision under another key.
-- Several parties of one decision are no duplicates of each other: they are stated together, with one version.
SELECT s."row", 'FLAGGED' AS outcome, 'POSSIBLE_DUPLICATE' AS code, min(held.record_id::text) AS detail
FROM twin s
JOIN record held ON held.content_key = s.content_key AND held.record_id <> s.record_id
    AND held.status = 'IN_FORCE' AND held.department = s.department AND held.epoch = 0
    AND (held.uscc = s.uscc
         OR held.version <> s.version
         AND (held.penalty_document_number = s.penalty_document_number OR held.listing_entry_id = s.listing_entry_id))
GROUP BY s."row"
ORDER BY 1
