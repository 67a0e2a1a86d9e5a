-- Statements in the history of a slice of records: each once, and whether any row of it has content. `ours` marks those that this
-- province itself took out of another's set; no log has them.
SELECT record_id, epoch, version, digest_hi, digest_lo, bool_or(statement IS NOT NULL) AS live,
       bool_or(accepted_offset = -1 AND status = 'WITHDRAWN' AND epoch > 0 AND province <> %(own)s) AS ours,
       min(province) AS province, min(department) AS department
FROM record_history
WHERE record_id BETWEEN %(first)s AND %(last)s
GROUP BY record_id, epoch, version, digest_hi, digest_lo
