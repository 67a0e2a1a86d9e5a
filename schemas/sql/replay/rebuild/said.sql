-- Statements of the records in rebuild_again, read from history once for all comparisons. `place` is valid until a row changes.
CREATE TABLE rebuild_said AS
SELECT h.ctid AS place, h.record_id, h.province, h.department, h.epoch, h.version, h.digest_hi, h.digest_lo, h.uscc, h.reason,
       h.received_at, h.decided_on, h.accepted_partition, h.accepted_offset
FROM record_history h JOIN rebuild_again USING (record_id)
