-- Withdrawal, in a new epoch, of the records in `gone` that are still shared and still lack their statement; told.sql and withdrawn.sql
-- continue the query. For a record with an earlier statement its rank is stored, so that the sweep shares it again in the next epoch.
WITH leaving AS MATERIALIZED (
    SELECT s.record_id, s.department, s.partition, s.kind, s.domain, s.uscc, s.version, s.digest_hi, s.digest_lo,
           GREATEST(s.epoch + 1, %(now)s) AS next, r.version AS stands_version, r.digest_hi AS stands_hi, r.digest_lo AS stands_lo
    FROM gone g
    JOIN xinliu.shared_record s USING (record_id, department)
    LEFT JOIN record r ON (r.record_id, r.province, r.department) = (s.record_id, %(own)s, s.department)
    WHERE s.state = 'SHARED'
      AND (r.record_id IS NULL OR (r.version, r.digest_hi, r.digest_lo) < (s.version, s.digest_hi, s.digest_lo))
), changed AS (
    SELECT record_id, department, next AS epoch, 'WITHDRAWN' AS state, partition, kind, domain, uscc,
           COALESCE(stands_version, version) AS version, COALESCE(stands_hi, digest_hi) AS digest_hi,
           COALESCE(stands_lo, digest_lo) AS digest_lo, 'WITHDRAWN' AS status, true AS shared, partition AS held_partition,
           domain AS held_domain, digest_hi AS held_hi, digest_lo AS held_lo
    FROM leaving
)
