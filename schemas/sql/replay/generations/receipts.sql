-- What departments have been told: receipts carry only news.
INSERT INTO receipt_sent (topic, partition, next_offset, as_of)
SELECT topic, partition, next_offset, as_of FROM {old}.receipt_sent
