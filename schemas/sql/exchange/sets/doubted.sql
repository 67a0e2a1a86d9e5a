-- Records that are held otherwise than their province can have meant: the log says whether it did.
SELECT DISTINCT record_id FROM exchange_difference
WHERE closed_at IS NULL AND difference IN ('NEWER', 'CONTENT') AND opened_at > %(after)s
LIMIT %(most)s
