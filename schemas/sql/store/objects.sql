-- The objects in the schemas of a province's database, each with a text that covers all of its behaviour; names are qualified,
-- because the search_path of the session is pg_catalog alone. Schema, kind, name, text.
WITH ours AS MATERIALIZED (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relation AS MATERIALIZED (
    SELECT c.*, o.nspname FROM pg_class c JOIN ours o ON o.oid = c.relnamespace
    WHERE NOT EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
    )
)
SELECT nspname, 'schema', '', '' FROM ours
UNION ALL
SELECT nspname,
       CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' WHEN 'm' THEN 'materialised view'
            WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' ELSE 'type' END,
       relname::text,
       concat_ws(
           E'\n', relpersistence::text, 'rows ' || relrowsecurity || ' ' || relforcerowsecurity,
           CASE WHEN relkind IN ('v', 'm') THEN COALESCE(array_to_string(reloptions, ' '), '') || pg_get_viewdef(c.oid) ELSE (
               SELECT string_agg(
                   concat_ws(
                       ' ', a.attname, format_type(a.atttypid, a.atttypmod),
                       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
                       a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid)
                   ), E'\n' ORDER BY a.attname
               )
               FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
               LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND relkind <> 'S'
           ) END
       ) || COALESCE((
           SELECT string_agg(E'\ninherits ' || i.inhparent::regclass || ' ' || i.inhrelid::regclass, '' ORDER BY i.inhrelid, i.inhseqno)
           FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid)
       ), '')
FROM relation c WHERE relkind NOT IN ('i', 'I', 't')
UNION ALL
SELECT c.nspname, 'constraint', c.relname || ' ' || pg_get_constraintdef(k.oid), concat(k.convalidated, k.conenforced)
FROM relation c JOIN pg_constraint k ON k.conrelid = c.oid WHERE k.contype <> 'n'
UNION ALL
SELECT c.nspname, 'index', c.relname, pg_get_indexdef(c.oid) FROM relation c
WHERE c.relkind IN ('i', 'I') AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT c.nspname, 'trigger', c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid) || t.tgenabled::text
FROM relation c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT c.nspname, 'trigger', c.relname || '.' || k.conname || ' switched off', ''
FROM relation c JOIN pg_trigger t ON t.tgrelid = c.oid JOIN pg_constraint k ON k.oid = t.tgconstraint
WHERE t.tgisinternal AND t.tgenabled <> 'O'
UNION ALL
SELECT c.nspname, 'rule', c.relname || '.' || r.rulename, pg_get_ruledef(r.oid) || r.ev_enabled::text
FROM relation c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN' OR r.ev_enabled <> 'O'
UNION ALL
SELECT c.nspname, 'policy', c.relname || '.' || p.polname,
       concat_ws(' ', p.polcmd, p.polpermissive, pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid))
FROM relation c JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT o.nspname, 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       CASE WHEN p.prokind = 'a' THEN 'aggregate' ELSE pg_get_functiondef(p.oid) END
FROM pg_proc p JOIN ours o ON o.oid = p.pronamespace
WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
UNION ALL
-- Other objects of a schema: types, operators, collations, text search…
SELECT o.nspname, i.type, i.identity, ''
FROM ours o JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = o.oid
CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
WHERE d.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_default_acl'::regclass)
UNION ALL
-- Objects of the database outside its schemas.
SELECT '', 'extension', extname::text, '' FROM pg_extension WHERE extname NOT IN ('plpgsql', 'pg_stat_statements')
UNION ALL
SELECT '', 'event trigger', evtname::text, '' FROM pg_event_trigger
UNION ALL
SELECT '', 'foreign server', srvname::text, '' FROM pg_foreign_server
UNION ALL
SELECT '', 'language', lanname::text, '' FROM pg_language WHERE oid >= 16384
UNION ALL
SELECT '', 'cast', castsource::regtype || ' as ' || casttarget::regtype, '' FROM pg_cast WHERE oid >= 16384
