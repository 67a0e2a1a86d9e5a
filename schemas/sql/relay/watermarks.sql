-- Watermarks that no receipt has reported yet.
SELECT w.department, w.topic, w.partition, w.next_offset, w.as_of
FROM watermark w
LEFT JOIN receipt_sent s USING (topic, partition)
WHERE s.topic IS NULL OR (s.next_offset, s.as_of) IS DISTINCT FROM (w.next_offset, w.as_of)
ORDER BY w.department, w.partition
