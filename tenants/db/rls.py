"""Row-level security for shared tables, as migration operations.

A shared table that holds tenants' rows gets: ENABLE and FORCE ROW LEVEL SECURITY; one policy for
`paas_tenant` (the group whose rights every tenant role inherits) that compares the row's tenant with the
uuid inside `current_user`; one for `paas_platform` and one for the owner, who see all rows. The comparison
sits in a scalar sub-select, so PostgreSQL computes it once a query and not once a row.
"""

from __future__ import annotations

from django.db import migrations

BOUND_TENANT_SQL = """
CREATE FUNCTION public.bound_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog AS $$
    SELECT CASE WHEN current_user ~ '^t_[0-9a-f]{32}$' THEN substr(current_user::text, 3)::uuid END
$$;
COMMENT ON FUNCTION public.bound_tenant() IS
    'The tenant whose role this session has taken on; NULL for the platform and the owner.';
"""
# The same without a setting of its own, so that the planner puts its expression into the statement: a turn asks some
# forty times, and a call costs ten times what the expression does. Every name in it says its schema, so it means the
# same under any search path. A role that only looks like a tenant's is an error, which is no way in either.
BOUND_TENANT_INLINE_SQL = """
CREATE OR REPLACE FUNCTION public.bound_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN pg_catalog.length(CURRENT_USER::pg_catalog.text) OPERATOR(pg_catalog.=) 34
            AND pg_catalog.starts_with(CURRENT_USER::pg_catalog.text, 't_')
        THEN pg_catalog.substr(CURRENT_USER::pg_catalog.text, 3)::pg_catalog.uuid END
$$;
"""


def protect(table: str, *, tenant_column: str = "tenant_id", tenant_may: str = "SELECT") -> migrations.RunSQL:
    """RLS for `table`: a tenant sees and writes rows where `tenant_column` is its own id.

    tenant_may: the privileges of tenant roles, e.g. "SELECT, INSERT, UPDATE".
    """
    return protect_where(table, f"{tenant_column} = (SELECT public.bound_tenant())", tenant_may=tenant_may)


def protect_where(table: str, condition: str, *, tenant_may: str = "SELECT") -> migrations.RunSQL:
    """RLS for `table` with a condition of its own (constants from migrations only, never input)."""
    grant = f"GRANT {tenant_may} ON public.{table} TO paas_tenant;" if tenant_may else ""
    forward = f"""
        ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE public.{table} FORCE ROW LEVEL SECURITY;
        CREATE POLICY tenant_rows ON public.{table} TO paas_tenant
            USING ({condition}) WITH CHECK ({condition});
        CREATE POLICY platform_rows ON public.{table} TO paas_platform USING (true) WITH CHECK (true);
        CREATE POLICY owner_rows ON public.{table} TO paas_owner USING (true) WITH CHECK (true);
        {grant}
    """
    backward = f"""
        DROP POLICY tenant_rows ON public.{table};
        DROP POLICY platform_rows ON public.{table};
        DROP POLICY owner_rows ON public.{table};
        ALTER TABLE public.{table} DISABLE ROW LEVEL SECURITY;
        REVOKE ALL ON public.{table} FROM paas_tenant;
    """
    return migrations.RunSQL(forward, backward)


def readable_by_tenants(table: str) -> migrations.RunSQL:
    """A shared table without tenants' rows (plans, prices) that every tenant may read."""
    return migrations.RunSQL(
        f"GRANT SELECT ON public.{table} TO paas_tenant;",
        f"REVOKE SELECT ON public.{table} FROM paas_tenant;",  # noqa: S608 - a migration's own table name
    )


def append_only(table: str, schema: str = "public.") -> migrations.RunSQL:
    """A trigger that refuses UPDATE and DELETE on `table`, whoever asks."""
    return migrations.RunSQL(  # names from migrations only
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {schema}{table} "
        "FOR EACH ROW EXECUTE FUNCTION public.refuse_change();",
        f"DROP TRIGGER append_only ON {schema}{table};",
    )


REFUSE_CHANGE_SQL = """
CREATE FUNCTION public.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
"""
