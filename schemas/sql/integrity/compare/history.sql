-- The history of the records from one id to another, both inclusive.
SELECT uuid_send(record_id) AS record_id, province, department, epoch, version, digest_hi, digest_lo, status, uscc, reason, known_at,
       accepted_partition, accepted_offset, writer, statement
FROM record_history
WHERE record_id BETWEEN %(first)s AND %(last)s
