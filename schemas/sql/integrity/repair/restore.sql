-- Inserts messages of the log that history has lost.
INSERT INTO record_history
SELECT t.*
FROM told t
WHERE NOT EXISTS (
    SELECT FROM record_history h
    WHERE h.record_id = t.record_id AND h.province = t.province AND h.department = t.department
      AND (h.epoch, h.version, h.digest_hi, h.digest_lo) = (t.epoch, t.version, t.digest_hi, t.digest_lo)
)
