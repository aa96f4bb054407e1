from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "0018_plans_apart.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("chat", "0017_search"), ("usage", "0013_plans_apart")]

    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]
