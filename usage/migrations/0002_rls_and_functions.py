from pathlib import Path

from django.db import migrations

from tenants.db import rls

SQL = (Path(__file__).parent / "0002_functions.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_initial"), ("tenants", "0002_rls")]

    operations = [
        rls.protect("usage_quota", tenant_may="SELECT, INSERT, UPDATE"),
        rls.protect("usage_reservation", tenant_may="SELECT, INSERT, UPDATE"),
        rls.protect("usage_usagerecord", tenant_may="SELECT, INSERT"),
        rls.append_only("usage_usagerecord"),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
