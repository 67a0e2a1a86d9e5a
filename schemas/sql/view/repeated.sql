-- Suspects that history holds already: said again, byte for byte.
SELECT s."row"
FROM suspect s
WHERE EXISTS (
    SELECT FROM record_history h
    WHERE h.record_id = s.record_id AND h.version = s.version AND h.digest_hi = s.digest_hi AND h.digest_lo = s.digest_lo
)
