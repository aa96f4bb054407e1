from django.db import migrations

from tenants.db import rls

MEMBERS = """EXISTS (
    SELECT 1 FROM public.accounts_membership m
    WHERE m.user_id = accounts_user.id AND m.tenant_id = (SELECT public.bound_tenant())
)"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial"), ("tenants", "0002_rls")]

    operations = [
        rls.protect("accounts_membership"),
        # A person is visible where they are a member; of their row a tenant may change what sign-in changes.
        rls.protect_where("accounts_user", MEMBERS, tenant_may="SELECT, UPDATE (last_login, password, name, language)"),
        rls.protect("accounts_apikey", tenant_may="SELECT, INSERT, UPDATE"),
        rls.protect("accounts_session", tenant_may="SELECT, INSERT, UPDATE, DELETE"),
        rls.protect("accounts_auditevent", tenant_may="SELECT, INSERT"),
        rls.append_only("accounts_auditevent"),
    ]
