-- Rows that their departments refused themselves (schemas/records/refused_row.py); every statement may be run again.
ALTER TABLE quarantine ADD COLUMN IF NOT EXISTS held_from timestamptz;

CREATE OR REPLACE VIEW source_freshness AS
SELECT s.department, s.topic,
       CASE WHEN w.told = s.partitions THEN LEAST(w.as_of, q.held_since) END AS data_as_of,
       q.held_since, COALESCE(q.open_entries, 0) AS open_quarantine
FROM source s
LEFT JOIN LATERAL (
    SELECT count(as_of) AS told, min(as_of) AS as_of FROM watermark w WHERE w.topic = s.topic
) w ON true
LEFT JOIN LATERAL (
    SELECT min(COALESCE(held_from, received_at)) FILTER (WHERE uscc IS NULL) AS held_since, count(*) AS open_entries
    FROM quarantine q WHERE q.department = s.department AND q.topic = s.topic AND q.state = 'OPEN'
) q ON true;
