-- Deletes rows erased by a statement that is no longer believed, and by no other: their content is gone from the log, too. The
-- refused statement waits in the quarantine, so that its entity is not reported as 无 until its origin publishes it again.
DELETE FROM record_history h
WHERE h.record_id = ANY(%(ids)s) AND h.statement IS NULL
  AND EXISTS (SELECT FROM replay_refused r WHERE r.record_id = replace(h.record_id::text, '-', '') AND r.version >= h.version)
  AND NOT EXISTS (
      SELECT FROM record_history e
      WHERE e.record_id = h.record_id AND e.province = h.province AND e.department = h.department
        AND (e.status = 'REVOKED' OR e.epoch > 0 AND e.status <> 'IN_FORCE')
        AND (e.epoch, e.version, e.digest_hi, e.digest_lo) > (h.epoch, h.version, h.digest_hi, h.digest_lo)
  )
