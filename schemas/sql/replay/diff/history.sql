-- History of a record in a generation: statements by rank, the earliest copy of each, and whether it is the current one in `record`.
SELECT DISTINCT ON (h.province, h.department, h.epoch, h.version, h.digest_hi, h.digest_lo)
       h.province, h.department, h.epoch, h.version, h.digest_hi, h.digest_lo, h.status, h.reason, h.uscc, h.known_at, h.received_at,
       h.accepted_partition, h.accepted_offset, h.writer, h.statement,
       EXISTS (
           SELECT FROM {schema}.record r
           WHERE (r.record_id, r.province, r.department, r.epoch, r.version, r.digest_hi, r.digest_lo)
               = (h.record_id, h.province, h.department, h.epoch, h.version, h.digest_hi, h.digest_lo)
       ) AS stands
FROM {schema}.record_history h
WHERE h.record_id = %(record)s
ORDER BY h.province, h.department, h.epoch, h.version, h.digest_hi, h.digest_lo, h.known_at, h.accepted_offset
