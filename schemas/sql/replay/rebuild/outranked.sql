-- The fold is a maximum: for each record the row with the highest rank stays, of equal ones the first. The ranks are read into a
-- temporary table first, since PostgreSQL runs only reads in parallel.
CREATE TEMPORARY TABLE rebuild_ranked ON COMMIT DROP AS
SELECT r.ctid AS place, row_number() OVER (
           PARTITION BY record_id, province COLLATE "C", department COLLATE "C"
           ORDER BY epoch DESC, version DESC, digest_hi DESC, digest_lo DESC, known_at
       ) AS position
FROM record r JOIN rebuild_again USING (record_id);
ANALYZE rebuild_ranked;
DELETE FROM record r USING rebuild_ranked p WHERE r.ctid = p.place AND p.position > 1
