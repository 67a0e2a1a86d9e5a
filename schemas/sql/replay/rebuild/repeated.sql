-- Repeated statements, byte for byte: the first copy stays, with the earliest receipt.
WITH placed AS (
    SELECT ctid AS here, place, received_at, min(received_at) OVER same AS earliest,
           row_number() OVER (same ORDER BY accepted_offset) AS copy, count(*) OVER same AS copies
    FROM rebuild_said
    WINDOW same AS (PARTITION BY record_id, epoch, version, digest_hi, digest_lo)
), kept AS (
    UPDATE record_history h SET received_at = p.earliest
    FROM placed p WHERE h.ctid = p.place AND p.copy = 1 AND p.copies > 1 AND p.received_at <> p.earliest
), gone AS (
    DELETE FROM record_history h USING placed p WHERE h.ctid = p.place AND p.copy > 1
), said AS (
    UPDATE rebuild_said s SET received_at = p.earliest
    FROM placed p WHERE s.ctid = p.here AND p.copy = 1 AND p.copies > 1 AND p.received_at <> p.earliest
)
DELETE FROM rebuild_said s USING placed p WHERE s.ctid = p.here AND p.copy > 1
