-- The fold is a maximum: of each record the row of the highest rank stays, of equal ones the first.
DELETE FROM record r
USING (
    SELECT r.ctid AS place, row_number() OVER (
               PARTITION BY record_id, province COLLATE "C", department COLLATE "C"
               ORDER BY epoch DESC, version DESC, digest_hi DESC, digest_lo DESC, known_at
           ) AS position
    FROM record r JOIN rebuild_again USING (record_id)
) p
WHERE r.ctid = p.place AND p.position > 1
