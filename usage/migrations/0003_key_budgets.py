from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "0003_key_budgets.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_rls_and_functions"), ("accounts", "0003_identity")]

    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]
