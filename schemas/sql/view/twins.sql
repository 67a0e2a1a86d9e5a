-- New records that state what another record of the department states: possibly the same decision under another key.
SELECT s."row", 'FLAGGED' AS outcome, 'POSSIBLE_DUPLICATE' AS code, min(twin.record_id::text) AS detail
FROM stage s
JOIN record twin ON twin.content_key = s.content_key AND twin.record_id <> s.record_id
    AND twin.status = 'IN_FORCE' AND twin.department = s.department
    AND (twin.uscc = s.uscc OR twin.penalty_document_number = s.penalty_document_number
         OR twin.listing_entry_id = s.listing_entry_id)
WHERE s.status = 'IN_FORCE' AND s."row" <> ALL (%(known)s)
GROUP BY s."row"
ORDER BY 1
