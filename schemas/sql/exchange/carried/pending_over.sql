-- Delete entries that a province has not published again since it began anew, at the sequence of the row of uscc ''.
DELETE FROM foreign_pending p
USING foreign_pending begun
WHERE begun.province = p.province AND begun.partition = p.partition AND begun.uscc = '' AND p.uscc <> ''
  AND p.sequence < begun.sequence AND begun.province = ANY(%(provinces)s)
