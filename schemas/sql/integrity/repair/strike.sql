-- Deletes rows of history without a message in the log. Exempt are rows folded after the log was read; rows whose content was
-- erased, since their messages are gone from the log; and those that this province itself took out of another's set (WITHDRAWN,
-- streams/exchange/sets/requests.py).
DELETE FROM record_history h
WHERE h.record_id = ANY(%(ids)s)
  AND NOT EXISTS (
      SELECT FROM unnest(%(partitions)s::integer[], %(read)s::bigint[], %(folded)s::bigint[]) AS since (partition, read, folded)
      WHERE since.partition = h.accepted_partition AND h.accepted_offset >= since.read AND h.accepted_offset < since.folded
  )
  AND NOT EXISTS (
      SELECT FROM told t
      WHERE t.record_id = h.record_id AND t.province = h.province AND t.department = h.department
        AND (t.epoch, t.version, t.digest_hi, t.digest_lo) = (h.epoch, h.version, h.digest_hi, h.digest_lo)
  )
  AND NOT (h.status = 'WITHDRAWN' AND h.accepted_offset = -1 AND h.epoch > 0 AND h.province <> %(own)s AND %(keeps_withdrawn)s)
  AND NOT (h.statement IS NULL AND EXISTS (
      SELECT FROM record_history e
      WHERE e.record_id = h.record_id AND e.province = h.province AND e.department = h.department
        AND (e.status = 'REVOKED' OR e.epoch > 0 AND e.status <> 'IN_FORCE')
        AND (e.epoch, e.version, e.digest_hi, e.digest_lo) > (h.epoch, h.version, h.digest_hi, h.digest_lo)
  ))
