-- Behind decided.sql: which of the asked records are not shared as they should be. Locks and changes nothing.
SELECT uuid_send(record_id) AS record_id, department FROM decided ORDER BY record_id, department
