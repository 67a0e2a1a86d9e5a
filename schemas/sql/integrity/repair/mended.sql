-- Closes repaired differences: those of these records, entities or sets, except the ones that still differ.
UPDATE row_difference
SET mended_at = clock_timestamp(), how = %(how)s
WHERE mended_at IS NULL AND relation = ANY(%(relations)s)
  AND (%(ids)s::uuid[] IS NULL OR record_id = ANY(%(ids)s))
  AND (%(usccs)s::text[] IS NULL OR uscc = ANY(%(usccs)s))
  AND NOT (record_id IS NOT NULL AND record_id = ANY(%(still)s::uuid[]))
