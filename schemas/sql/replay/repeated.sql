-- Said again, byte for byte: the first copy stays, as of the earliest receipt.
WITH placed AS (
    SELECT h.ctid AS place, min(received_at) OVER same AS earliest, row_number() OVER (same ORDER BY accepted_offset) AS copy,
           count(*) OVER same AS copies
    FROM record_history h JOIN rebuild_again USING (record_id)
    WINDOW same AS (PARTITION BY record_id, epoch, version, digest_hi, digest_lo)
), kept AS (
    UPDATE record_history h SET received_at = p.earliest
    FROM placed p WHERE h.ctid = p.place AND p.copy = 1 AND p.copies > 1 AND h.received_at <> p.earliest
)
DELETE FROM record_history h USING placed p WHERE h.ctid = p.place AND p.copy > 1
