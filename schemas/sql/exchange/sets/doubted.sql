-- Records whose copy here is newer or other than their province shares: the log shows whether it published that.
SELECT DISTINCT record_id FROM exchange_difference
WHERE closed_at IS NULL AND difference IN ('NEWER', 'CONTENT') AND opened_at > %(after)s
LIMIT %(most)s
