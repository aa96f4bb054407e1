from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "0013_plans_apart.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("usage", "0012_everybody")]

    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]
