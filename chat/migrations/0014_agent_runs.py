from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "0014_agent_runs.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("chat", "0013_approvals")]

    operations = [migrations.RunSQL(SQL, migrations.RunSQL.noop)]
