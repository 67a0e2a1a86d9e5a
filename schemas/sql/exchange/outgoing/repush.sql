-- Queue shared records again, as they stand: statements and withdrawals with their epochs, marked as mending. The
-- shared state does not change. A NULL parameter does not filter. Returns the number of queued entries.
WITH chosen AS (
    SELECT s.*
    FROM xinliu.shared_record s
    WHERE (%(record_ids)s::uuid[] IS NULL
           OR (record_id, department) IN (SELECT * FROM unnest(%(record_ids)s::uuid[], %(departments)s::text[])))
      AND (%(domain)s::text IS NULL OR domain = %(domain)s)
      AND (%(uscc)s::text IS NULL OR uscc = %(uscc)s)
      AND (%(partition)s::smallint IS NULL OR partition = %(partition)s)
), numbered AS (
    SELECT concat_ws(
               '|', CASE state WHEN 'SHARED' THEN 'SHARE' ELSE 'WITHDRAW' END, partition, record_id, department, epoch, version,
               digest_hi, digest_lo, 't', uscc, domain, kind, status
           ) AS entry,
           row_number() OVER (ORDER BY partition, record_id, department) - 1 AS n
    FROM chosen
), waiting AS (
    INSERT INTO outbox (kind, payload)
    SELECT 'EXCHANGE', to_jsonb(string_agg(entry, E'\n' ORDER BY n)) FROM numbered
    WHERE NOT %(dry_run)s
    GROUP BY n / %(portion)s
    ORDER BY n / %(portion)s
)
SELECT count(*) FROM numbered
