-- Behind decided.sql: the asked records that are not shared as they should be. Locks and changes nothing.
SELECT uuid_send(record_id) AS record_id, department FROM decided ORDER BY record_id, department
