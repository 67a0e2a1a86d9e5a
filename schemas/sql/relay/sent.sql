INSERT INTO receipt_sent (topic, partition, next_offset, as_of)
SELECT topic, partition, next_offset, as_of
FROM jsonb_to_recordset(%(rows)s) AS told (topic text, partition integer, next_offset bigint, as_of timestamptz)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset, as_of = excluded.as_of
