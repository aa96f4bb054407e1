-- What `manage.py prove_isolation` reads from PostgreSQL's catalogues, one query a section (tenants/catalog.py).
-- Each runs with search_path = pg_catalog, so that every name of ours in a definition comes out with its schema.

-- :roles
SELECT r.rolname, r.rolcanlogin, r.rolinherit, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb,
    r.rolreplication,
    (SELECT count(*) FROM pg_shdepend o
     WHERE o.refclassid = 'pg_authid'::regclass AND o.refobjid = r.oid AND o.deptype = 'o'),
    ARRAY(SELECT setting FROM pg_db_role_setting s, unnest(s.setconfig) AS setting WHERE s.setrole = r.oid)
FROM pg_roles r WHERE r.rolname !~ '^pg_'

-- :memberships
SELECT role.rolname, member.rolname, bool_or(m.inherit_option), bool_or(m.set_option), bool_or(m.admin_option)
FROM pg_auth_members m JOIN pg_roles role ON role.oid = m.roleid JOIN pg_roles member ON member.oid = m.member
WHERE member.rolname !~ '^pg_' GROUP BY 1, 2

-- :schemas
SELECT nspname, nspowner::regrole::text FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)'

-- :relations
SELECT n.nspname, c.relname, c.relkind::text, c.relowner::regrole::text, c.relrowsecurity, c.relforcerowsecurity,
    coalesce(c.reloptions && '{security_invoker=true,security_invoker=on,security_invoker=1}', false),
    ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_index i
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
          WHERE i.indrelid = c.oid AND i.indisprimary),
    EXISTS (SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
            LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE i.indrelid = c.oid AND i.indisprimary
                AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) ~ 'nextval'))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname ~ '^(public$|t_)' AND NOT EXISTS (
    SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')

-- :grants
-- One row for each single right; a column's rights carry the column's name.
SELECT kind, schema, name, "column", CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, privilege
FROM (
    SELECT 'table' AS kind, n.nspname AS schema, c.relname::text AS name, '' AS "column", a.grantee,
        a.privilege_type AS privilege
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, LATERAL aclexplode(c.relacl) a
    WHERE n.nspname ~ '^(public$|t_)'
    UNION ALL
    SELECT 'table', n.nspname, c.relname, t.attname, a.grantee, a.privilege_type
    FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
        LATERAL aclexplode(t.attacl) a
    WHERE n.nspname ~ '^(public$|t_)'
    UNION ALL
    SELECT 'schema', n.nspname, '', '', a.grantee, a.privilege_type
    FROM pg_namespace n, LATERAL aclexplode(n.nspacl) a WHERE n.nspname !~ '^(pg_|information_schema$)'
    UNION ALL
    SELECT 'database', '', d.datname, '', a.grantee, a.privilege_type
    FROM pg_database d, LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    WHERE d.datname = current_database()
    UNION ALL
    SELECT 'default', coalesce(n.nspname, ''), f.defaclobjtype::text, '', a.grantee, a.privilege_type
    FROM pg_default_acl f LEFT JOIN pg_namespace n ON n.oid = f.defaclnamespace, LATERAL aclexplode(f.defaclacl) a
) rights

-- :policies
SELECT n.nspname || '.' || c.relname, p.polname::text,
    ARRAY(SELECT CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END FROM unnest(p.polroles) role),
    p.polcmd::text, p.polpermissive, coalesce(pg_get_expr(p.polqual, p.polrelid), ''),
    coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '')
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace

-- :functions
SELECT n.nspname, p.proname::text, p.proowner::regrole::text, p.prosecdef, coalesce(p.proconfig, '{}'), p.prosrc
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^(pg_|information_schema$)' AND NOT EXISTS (
    SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')

-- :uniques
-- Of shared tables; "" stands for an expression.
SELECT c.relname::text, i.indexrelid::regclass::text,
    ARRAY(SELECT coalesce(a.attname::text, '') FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
          LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum AND k.attnum > 0 ORDER BY k.place)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
WHERE i.indisunique AND NOT i.indisprimary AND c.relnamespace = 'public'::regnamespace

-- :fingerprints
SELECT nspname, md5(string_agg(concat_ws(' ', kind, name, definition), chr(10)
    ORDER BY kind COLLATE "C", name COLLATE "C", definition COLLATE "C"))
FROM ({contents}) AS contents GROUP BY nspname

-- :details
SELECT kind, name, definition FROM ({contents}) AS contents

-- :contents
-- Everything that makes a schema what it is, without the schema's own name in it.
WITH wanted AS (
    SELECT oid, nspname::text, nspname || '.' AS prefix FROM pg_namespace WHERE nspname = ANY (%(schemas)s)
), relations AS (
    SELECT c.*, w.nspname, w.prefix FROM pg_class c JOIN wanted w ON w.oid = c.relnamespace
)
SELECT nspname, 'relation' AS kind, relname::text AS name,
    concat_ws(' ', relkind, relpersistence, relrowsecurity, relforcerowsecurity, reloptions::text) AS definition
FROM relations WHERE relkind NOT IN ('i', 't')
UNION ALL
SELECT r.nspname, 'column', r.relname || '.' || a.attname,
    concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
        a.attcollation::regcollation, replace(pg_get_expr(d.adbin, d.adrelid), r.prefix, ''))
FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum WHERE r.relkind NOT IN ('i', 'S')
UNION ALL
SELECT r.nspname, 'constraint', r.relname || '.' || k.conname,
    concat_ws(' ', replace(pg_get_constraintdef(k.oid), r.prefix, ''), k.convalidated)
FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid
UNION ALL
SELECT r.nspname, 'index', r.relname, concat_ws(' ', replace(pg_get_indexdef(r.oid), r.prefix, ''), i.indisvalid)
FROM relations r JOIN pg_index i ON i.indexrelid = r.oid
UNION ALL
SELECT r.nspname, 'trigger', r.relname || '.' || t.tgname,
    concat_ws(' ', replace(pg_get_triggerdef(t.oid), r.prefix, ''), t.tgenabled)
FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT w.nspname, 'function', replace(p.oid::regprocedure::text, w.prefix, ''),
    replace(pg_get_functiondef(p.oid), w.prefix, '')
FROM wanted w JOIN pg_proc p ON p.pronamespace = w.oid AND p.prokind IN ('f', 'p')
UNION ALL
SELECT w.nspname, 'type', t.typname, t.typtype::text
FROM wanted w JOIN pg_type t ON t.typnamespace = w.oid AND t.typtype IN ('e', 'd', 'r')
