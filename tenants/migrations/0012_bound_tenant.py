from django.db import migrations

from tenants.db import rls


class Migration(migrations.Migration):
    """The function that every policy asks becomes a part of the statements that ask it (tenants/db/rls.py)."""

    dependencies = [("tenants", "0011_console")]

    operations = [
        migrations.RunSQL(
            rls.BOUND_TENANT_INLINE_SQL, rls.BOUND_TENANT_SQL.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
        ),
    ]
