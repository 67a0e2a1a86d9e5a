-- Possible duplicates: new records with the same content as another record of the department, of this province; possibly the same
-- decision under another key. Several parties of one decision are no duplicates: they are stated together, with one version.
-- A mass decision has as many records with one content as there are companies, so no query scans them all: the company's records,
-- or those of the number, are looked up by an index in the order of their ids, each once, and only the first `most`. The result
-- depends on the set of records alone, and is the lowest id of all, unless `most` others stand before it.
SELECT "row", 'FLAGGED' AS outcome, 'POSSIBLE_DUPLICATE' AS code, min(record_id::text) AS detail
FROM (
    SELECT s."row", company.record_id
    FROM twin s CROSS JOIN LATERAL (
        SELECT record_id
        FROM (
            SELECT record_id, department FROM record
            WHERE content_key = s.content_key AND uscc = s.uscc AND status = 'IN_FORCE' AND epoch = 0
            ORDER BY record_id
            LIMIT %(most)s
        ) first
        WHERE record_id <> s.record_id AND department = s.department
        ORDER BY record_id
        LIMIT 1
    ) company
    UNION ALL
    SELECT unnest(s.rows), numbered.record_id
    FROM (
        SELECT content_key, number, department, version, array_agg("row") AS rows
        FROM twin WHERE number IS NOT NULL
        GROUP BY content_key, number, department, version
    ) s CROSS JOIN LATERAL (
        SELECT record_id
        FROM (
            SELECT record_id, department, version FROM record
            WHERE content_key = s.content_key AND COALESCE(penalty_document_number, listing_entry_id) = s.number
              AND status = 'IN_FORCE' AND epoch = 0
            ORDER BY record_id
            LIMIT %(most)s
        ) first
        WHERE version <> s.version AND department = s.department
        ORDER BY record_id
        LIMIT 1
    ) numbered
) found
GROUP BY "row"
ORDER BY 1
