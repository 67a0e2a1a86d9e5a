-- What a province has not said again since it began anew is over; the row of uscc '' says since when.
DELETE FROM foreign_pending p
USING foreign_pending begun
WHERE begun.province = p.province AND begun.partition = p.partition AND begun.uscc = '' AND p.uscc <> ''
  AND p.sequence < begun.sequence AND begun.province = ANY(%(provinces)s)
