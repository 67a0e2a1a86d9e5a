-- Columns of tables and views in their order, with type and collation (NULL: the type's own).
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
       CASE WHEN a.attcollation <> t.typcollation THEN l.collname END
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE n.nspname = ANY(%(schemas)s) AND c.relname = ANY(%(relations)s) AND c.relkind IN ('r', 'p', 'v')
ORDER BY n.nspname, c.relname, a.attnum
