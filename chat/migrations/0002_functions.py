from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "0002_functions.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("chat", "0001_initial")]

    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]
