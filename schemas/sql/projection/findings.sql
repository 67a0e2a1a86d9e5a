-- Findings about accepted statements, for their department, computed from the set of stored statements and nothing else. `below` is
-- the statements of the same record with a lower rank: GROUPS, because one may stand there twice.
-- Nobody is notified of ERASED: a revocation outranks the statement, which must not stay in accepted, however often it comes; for
-- another province's record so does a repair, or the end of sharing.
-- Statements from before reason, disputed and removed were stored count as whatever makes sense of the others.
WITH told AS (
    SELECT "row", record_id, province, department, epoch, version, digest_hi, digest_lo, status, reason, disputed, removed
    FROM suspect
    UNION ALL
    SELECT NULL, record_id, province, department, epoch, version, digest_hi, digest_lo, status, reason, disputed, removed
    FROM (SELECT DISTINCT record_id FROM suspect) s JOIN record_history h USING (record_id)
), placed AS (
    SELECT *,
           dense_rank() OVER record_by_rank AS place,
           max(version) OVER (PARTITION BY record_id, province, department) AS held_version,
           min(digest_hi) OVER one_version <> max(digest_hi) OVER one_version
               OR min(digest_lo) OVER one_version <> max(digest_lo) OVER one_version AS conflict,
           min(province || '/' || department) OVER one_id <> max(province || '/' || department) OVER one_id AS shared_id
    FROM told
    WINDOW record_by_rank AS (PARTITION BY record_id, province, department ORDER BY epoch, version, digest_hi, digest_lo),
           one_version AS (PARTITION BY record_id, province, department, version),
           one_id AS (PARTITION BY record_id, province)
), seen AS (
    SELECT *,
           place < max(place) OVER whole AS older,
           place < max(place) FILTER (WHERE status = 'REVOKED' OR epoch > 0 AND status <> 'IN_FORCE') OVER whole AS erased,
           max(place) FILTER (WHERE status = 'IN_FORCE') OVER below AS published_at,
           max(place) FILTER (WHERE status = 'IN_FORCE' AND reason IN ('RELISTED', 'CORRECTED')) OVER below AS meant_at,
           max(place) FILTER (WHERE status = 'REVOKED') OVER below AS revoked_at,
           max(place) FILTER (WHERE status = 'REPAIRED') OVER below AS repaired_at,
           bool_or(status = 'IN_FORCE' AND removed IS NOT TRUE) OVER below AS listed,
           bool_or(status = 'IN_FORCE' AND removed IS NOT FALSE) OVER below AS left_list,
           bool_or(status = 'IN_FORCE' AND disputed IS NOT FALSE) OVER below AS was_disputed,
           max(place) FILTER (WHERE status = 'IN_FORCE' AND removed) OVER below AS removed_at,
           max(place) FILTER (WHERE status = 'IN_FORCE' AND disputed) OVER below AS disputed_at
    FROM placed
    WINDOW whole AS (PARTITION BY record_id, province, department), below AS (
        PARTITION BY record_id, province, department ORDER BY place
        GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
)
SELECT s."row", f.outcome, f.code, f.detail
FROM seen s CROSS JOIN LATERAL (VALUES
    ('OLDER', 'OLDER', s.held_version::text, s.older),
    ('ERASED', 'ERASED', NULL, s.erased),
    ('FLAGGED', 'VERSION_CONFLICT', NULL, s.conflict),
    ('FLAGGED', 'SHARED_ID', NULL, s.shared_id),
    ('FLAGGED', 'NEVER_PUBLISHED', NULL,
     s.published_at IS NULL AND (s.status <> 'IN_FORCE' OR s.reason IN ('CORRECTED', 'DISPUTED'))),
    ('FLAGGED', 'NEVER_LISTED', NULL, s.reason = 'REMOVED' AND s.listed IS NOT TRUE),
    ('FLAGGED', 'NEVER_REMOVED', NULL, s.reason = 'RELISTED' AND s.left_list IS NOT TRUE),
    ('FLAGGED', 'NEVER_DISPUTED', NULL, s.reason = 'UPHELD' AND s.was_disputed IS NOT TRUE),
    ('FLAGGED', 'REVIVED', NULL,
     s.status = 'IN_FORCE' AND s.reason NOT IN ('RELISTED', 'CORRECTED') AND s.revoked_at > COALESCE(s.meant_at, 0)),
    ('FLAGGED', 'REPAIR_UNDONE', NULL,
     s.status = 'IN_FORCE' AND s.reason NOT IN ('RELISTED', 'CORRECTED')
     AND s.repaired_at > GREATEST(s.meant_at, s.revoked_at, 0)),
    ('FLAGGED', 'REMOVAL_UNDONE', NULL,
     s.status = 'IN_FORCE' AND NOT s.removed AND s.reason NOT IN ('RELISTED', 'CORRECTED') AND s.removed_at = s.place - 1),
    ('FLAGGED', 'MARK_LOST', NULL,
     s.status = 'IN_FORCE' AND NOT s.disputed AND s.reason NOT IN ('UPHELD', 'CORRECTED') AND s.disputed_at = s.place - 1),
    ('FLAGGED', 'REPAIR_OF_REVOKED', NULL, s.status = 'REPAIRED' AND s.revoked_at > COALESCE(s.published_at, 0))
) AS f (outcome, code, detail, holds)
WHERE s."row" IS NOT NULL AND f.holds
ORDER BY 1, 3
