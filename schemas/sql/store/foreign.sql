-- Undeclared rights of any kind, apart from those that schemas/store/roles.py compares with its own list (on schemas and tables,
-- of the roles named there): holder, right, and the statement that revokes it. Names are qualified: the search_path is pg_catalog
-- alone.
WITH declared (role, privilege) AS (
    VALUES ('xinliu_worker', 'CONNECT'), ('xinliu_operator', 'CONNECT'), ('xinliu_reader', 'CONNECT'),
           ('xinliu_worker', 'TEMPORARY'), ('xinliu_operator', 'TEMPORARY')
), here AS (
    SELECT d.oid, d.datname, d.datdba, o.rolname AS owner, COALESCE(d.datacl, acldefault('d', d.datdba)) AS acl
    FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba WHERE d.datname = current_database()
), ours AS MATERIALIZED (
    SELECT * FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), object AS (
    SELECT 'SCHEMA' AS kind, format('%%I', nspname) AS name, '' AS columns, nspacl AS acl, nspowner AS owner FROM ours
    UNION ALL
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, format('%%I.%%I', o.nspname, c.relname), '', relacl, relowner
    FROM pg_class c JOIN ours o ON o.oid = c.relnamespace
    UNION ALL
    SELECT 'TABLE', format('%%I.%%I', o.nspname, c.relname), format(' (%%I)', a.attname), a.attacl, c.relowner
    FROM pg_class c JOIN ours o ON o.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
    UNION ALL
    SELECT 'ROUTINE', p.oid::regprocedure::text, '', proacl, proowner FROM pg_proc p JOIN ours o ON o.oid = p.pronamespace
    UNION ALL
    SELECT 'TYPE', t.oid::regtype::text, '', typacl, typowner FROM pg_type t JOIN ours o ON o.oid = t.typnamespace
    UNION ALL
    SELECT 'DATABASE', format('%%I', datname), '', acl, datdba FROM here
    UNION ALL
    SELECT 'LARGE OBJECT', oid::text, '', lomacl, lomowner FROM pg_largeobject_metadata
    UNION ALL
    SELECT 'PARAMETER', parname, '', paracl, 10 FROM pg_parameter_acl
    UNION ALL
    SELECT 'LANGUAGE', format('%%I', lanname), '', lanacl, lanowner FROM pg_language
    UNION ALL
    SELECT 'FOREIGN SERVER', format('%%I', srvname), '', srvacl, srvowner FROM pg_foreign_server
    UNION ALL
    SELECT 'FOREIGN DATA WRAPPER', format('%%I', fdwname), '', fdwacl, fdwowner FROM pg_foreign_data_wrapper
), system AS (
    -- PostgreSQL's own objects with more rights than at first.
    SELECT 'TABLE' AS kind, c.oid::regclass::text AS name, '' AS columns, c.relacl AS acl, c.relowner AS owner,
           COALESCE(i.initprivs, acldefault('r', c.relowner)) AS first
    FROM pg_class c LEFT JOIN pg_init_privs i ON i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = 0
    WHERE c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND c.relacl IS NOT NULL
    UNION ALL
    SELECT 'TABLE', c.oid::regclass::text, format(' (%%I)', a.attname), a.attacl, c.relowner, COALESCE(i.initprivs, '{}')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
    LEFT JOIN pg_init_privs i ON i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = a.attnum
    WHERE c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    UNION ALL
    SELECT 'ROUTINE', p.oid::regprocedure::text, '', p.proacl, p.proowner, COALESCE(i.initprivs, acldefault('f', p.proowner))
    FROM pg_proc p LEFT JOIN pg_init_privs i ON i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proacl IS NOT NULL
      -- schemas/store/limits.py declares which of our roles may lock, and that none writes large objects.
      AND NOT p.proname ~ '^lo_|^loread|^lowrite|^be_lo|advisory'
    UNION ALL
    SELECT 'SCHEMA', format('%%I', n.nspname), '', n.nspacl, n.nspowner, COALESCE(i.initprivs, acldefault('n', n.nspowner))
    FROM pg_namespace n LEFT JOIN pg_init_privs i ON i.classoid = 'pg_namespace'::regclass AND i.objoid = n.oid
    WHERE n.nspname IN ('pg_catalog', 'information_schema')
), entry AS (
    SELECT o.kind, o.name, o.columns, e.*, COALESCE(r.rolname::text, 'PUBLIC') AS role,
           CASE WHEN r.rolname IS NULL THEN 'PUBLIC' ELSE format('%%I', r.rolname) END AS named,
           r.rolname = ANY(%(roles)s) AS known, false AS system
    FROM object o CROSS JOIN LATERAL aclexplode(o.acl) e LEFT JOIN pg_roles r ON r.oid = e.grantee
    WHERE e.grantee <> o.owner
    UNION ALL
    SELECT s.kind, s.name, s.columns, e.*, COALESCE(r.rolname::text, 'PUBLIC'),
           CASE WHEN r.rolname IS NULL THEN 'PUBLIC' ELSE format('%%I', r.rolname) END, false, true
    FROM system s CROSS JOIN LATERAL aclexplode(s.acl) e LEFT JOIN pg_roles r ON r.oid = e.grantee
    WHERE e.grantee <> s.owner AND (e.grantee = 0 OR r.rolname = ANY(%(roles)s) OR r.rolname = (SELECT owner FROM here))
      AND NOT EXISTS (
          SELECT FROM aclexplode(s.first) f WHERE f.grantee IN (0, e.grantee) AND f.privilege_type = e.privilege_type
      )
)
SELECT role, concat_ws(' ', privilege_type, lower(kind), name || columns, CASE WHEN is_grantable THEN 'to give on' END) AS what,
       CASE WHEN known AND is_grantable AND kind IN ('SCHEMA', 'TABLE') AND columns = ''
            THEN format('REVOKE GRANT OPTION FOR %%s ON %%s %%s FROM %%s CASCADE', privilege_type, kind, name, named)
            ELSE format('REVOKE %%s%%s ON %%s %%s FROM %%s CASCADE', privilege_type, columns, kind, name, named) END AS remove
FROM entry
WHERE CASE
    WHEN system AND name ~ '^information_schema' THEN (role, privilege_type) NOT IN (('PUBLIC', 'SELECT'), ('PUBLIC', 'USAGE'))
    WHEN system THEN true
    WHEN known AND kind IN ('SCHEMA', 'TABLE') AND columns = '' THEN is_grantable
    WHEN kind = 'DATABASE' THEN (role, privilege_type) NOT IN (SELECT * FROM declared) OR is_grantable
    WHEN kind = 'ROUTINE' AND name = 'xinliu.end_readers(interval,interval,interval)'
        THEN role <> 'xinliu_worker' OR is_grantable
    WHEN kind = 'ROUTINE' THEN NOT (role = 'PUBLIC' OR known) OR is_grantable
    WHEN kind IN ('TYPE', 'LANGUAGE') THEN (role, privilege_type) <> ('PUBLIC', 'USAGE')
    WHEN kind = 'SCHEMA' AND name = 'public' THEN (role, privilege_type) <> ('PUBLIC', 'USAGE')
    ELSE true
END
UNION ALL
-- Rights on future objects.
SELECT COALESCE(g.rolname::text, 'PUBLIC'),
       concat_ws(' ', e.privilege_type, 'on all', lower(t.kind), 'that', r.rolname, 'will make', 'in ' || n.nspname),
       format(
           'ALTER DEFAULT PRIVILEGES FOR ROLE %%I %%s REVOKE %%s ON %%s FROM %%s', r.rolname,
           CASE WHEN n.oid IS NULL THEN '' ELSE format('IN SCHEMA %%I', n.nspname) END, e.privilege_type, t.kind,
           CASE WHEN g.rolname IS NULL THEN 'PUBLIC' ELSE format('%%I', g.rolname) END
       )
FROM pg_default_acl d JOIN pg_roles r ON r.oid = d.defaclrole LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
JOIN (VALUES ('r', 'TABLES'), ('S', 'SEQUENCES'), ('f', 'ROUTINES'), ('T', 'TYPES'), ('n', 'SCHEMAS'), ('L', 'LARGE OBJECTS'))
    AS t (type, kind) ON t.type = d.defaclobjtype::text
CROSS JOIN LATERAL aclexplode(d.defaclacl) e LEFT JOIN pg_roles g ON g.oid = e.grantee
WHERE e.grantee <> d.defaclrole
  AND NOT (e.grantee = 0 AND (d.defaclobjtype::text, e.privilege_type) IN (('f', 'EXECUTE'), ('T', 'USAGE')))
UNION ALL
-- Memberships in other roles.
SELECT m.rolname, 'member of ' || r.rolname, format('REVOKE %%I FROM %%I CASCADE', r.rolname, m.rolname)
FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid CROSS JOIN here
WHERE NOT m.rolsuper AND m.rolname !~ '^pg_' AND NOT (m.rolname = ANY(%(others)s))
  AND (
      m.rolname = ANY(%(roles)s) OR m.rolname = here.owner OR r.rolname = ANY(%(roles)s) OR r.rolname = here.owner
      OR r.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
                       'pg_execute_server_program', 'pg_maintain', 'pg_database_owner') OR r.rolsuper
  )
  AND NOT (r.rolname = 'pg_read_all_settings' AND (m.rolname = here.owner OR m.rolname = 'xinliu_operator'))
  -- Workers keep connections of their own, and the owner's routine ends the sessions of readers (schemas/store/limits.py).
  AND NOT (r.rolname = 'pg_use_reserved_connections' AND (m.rolname = here.owner OR m.rolname = 'xinliu_worker'))
  AND NOT (r.rolname = 'xinliu_reader' AND m.rolname = here.owner AND NOT a.set_option AND NOT a.admin_option)
UNION ALL
-- Attributes that put a role beyond all rights.
SELECT r.rolname, lower(a.attribute), format('ALTER ROLE %%I NO%%s', r.rolname, a.attribute)
FROM pg_roles r CROSS JOIN here
CROSS JOIN LATERAL (
    VALUES ('SUPERUSER', r.rolsuper), ('CREATEROLE', r.rolcreaterole), ('CREATEDB', r.rolcreatedb),
           ('REPLICATION', r.rolreplication), ('BYPASSRLS', r.rolbypassrls)
) AS a (attribute, held)
WHERE a.held AND r.oid <> 10 AND (r.rolname = ANY(%(roles)s) OR r.rolname = here.owner)
UNION ALL
-- Settings that a session begins with: its search_path, and the role as which it acts.
SELECT COALESCE(r.rolname, 'PUBLIC'), 'begins with ' || s.setting,
       CASE WHEN d.setrole = 0 AND d.setdatabase = 0 THEN 'ALTER ROLE ALL'
            WHEN d.setrole = 0 THEN format('ALTER DATABASE %%I', here.datname)
            WHEN d.setdatabase = 0 THEN format('ALTER ROLE %%I', r.rolname)
            ELSE format('ALTER ROLE %%I IN DATABASE %%I', r.rolname, here.datname) END
       || format(' RESET %%I', split_part(s.setting, '=', 1))
FROM pg_db_role_setting d CROSS JOIN here LEFT JOIN pg_roles r ON r.oid = d.setrole CROSS JOIN LATERAL unnest(d.setconfig) AS s (setting)
WHERE d.setdatabase IN (0, here.oid) AND (d.setrole = 0 OR r.rolname = ANY(%(roles)s) OR r.rolname = here.owner)
  AND split_part(s.setting, '=', 1) !~ 'timeout|_limit|parallel|^(work_mem|timezone|log_|jit|application_name)'
UNION ALL
-- Other roles that may log in: those that can connect here, and those without a database on this server.
SELECT r.rolname, 'login', format('ALTER ROLE %%I NOLOGIN', r.rolname)
FROM pg_roles r CROSS JOIN here
WHERE r.rolcanlogin AND r.oid <> 10 AND NOT (r.rolname = ANY(%(roles)s) OR r.rolname = here.owner OR r.rolname = ANY(%(others)s))
  AND (
      has_database_privilege(r.oid, here.oid, 'CONNECT')
      OR NOT EXISTS (SELECT FROM pg_database d WHERE d.datdba = r.oid)
  )
UNION ALL
-- Objects in our schemas that somebody other than the owner of the database owns.
SELECT w.rolname, 'owns ' || o.what,
       format('ALTER %%s OWNER TO %%I', o.what, here.owner)
FROM (
    SELECT format('SCHEMA %%I', nspname) AS what, nspowner AS owner FROM ours
    UNION ALL
    SELECT format('%%s %%I.%%I', CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, o.nspname, c.relname), relowner
    FROM pg_class c JOIN ours o ON o.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') OR c.relkind = 'S' AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
    )
    UNION ALL
    SELECT format('ROUTINE %%s', p.oid::regprocedure), proowner FROM pg_proc p JOIN ours o ON o.oid = p.pronamespace
) o
JOIN pg_roles w ON w.oid = o.owner CROSS JOIN here
WHERE w.oid <> here.datdba AND w.rolname <> 'pg_database_owner'
UNION ALL
-- Routines that lend their owner's rights to the caller.
SELECT 'PUBLIC', 'rights of ' || w.rolname || ' by routine ' || p.oid::regprocedure,
       CASE WHEN format('%%I.%%s(%%s)', o.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) = ANY(%(shipped)s)
            THEN format('ALTER ROUTINE %%s SECURITY INVOKER', p.oid::regprocedure)
            ELSE format('DROP ROUTINE %%s', p.oid::regprocedure) END
FROM pg_proc p JOIN ours o ON o.oid = p.pronamespace JOIN pg_roles w ON w.oid = p.proowner
WHERE p.prosecdef AND p.oid::regprocedure::text <> 'xinliu.end_readers(interval,interval,interval)'
ORDER BY 1, 2
