-- Carries over the progress that departments have in their receipts: receipts carry only news.
INSERT INTO receipt_sent (topic, partition, next_offset, as_of)
SELECT topic, partition, next_offset, as_of FROM {old}.receipt_sent
