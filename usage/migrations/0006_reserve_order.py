from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "0006_reserve_order.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("usage", "0005_ledger")]

    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]
