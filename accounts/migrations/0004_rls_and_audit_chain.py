from pathlib import Path

from django.db import migrations

from tenants.db import rls

AUDIT_CHAIN = (Path(__file__).parent / "0004_audit_chain.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_identity"), ("tenants", "0004_plans_and_names")]

    operations = [
        rls.protect("accounts_invitation", tenant_may="SELECT, INSERT, UPDATE"),
        rls.protect("accounts_identityprovider", tenant_may="SELECT, INSERT, UPDATE, DELETE"),
        rls.protect("accounts_refreshfamily", tenant_may="SELECT, INSERT, UPDATE"),
        rls.protect("accounts_impersonation"),
        rls.protect("accounts_onetimecode", tenant_may=""),
        rls.protect("accounts_signup", tenant_may=""),
        migrations.RunSQL(AUDIT_CHAIN, migrations.RunSQL.noop),
    ]
