-- The outcome of every entry of these decisions; an outcome that was published twice stands here once.
SELECT department || '/' || partition || '/' || "offset" AS entry, decision, outcome, decided_by, recorded_at,
       ARRAY(SELECT DISTINCT found ->> 'code' FROM jsonb_array_elements(findings) AS found ORDER BY 1) AS codes
FROM (SELECT o.*, substr(o.topic, length('records.') + 1) AS department FROM quarantine_outcome o
      WHERE o.decision = ANY(%(decisions)s::text[])) told
ORDER BY quarantine_partition, quarantine_offset
