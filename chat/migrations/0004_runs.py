from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "0004_runs.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("chat", "0003_sessions_per_day")]

    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]
