from pathlib import Path

from django.db import migrations, models

SQL = (Path(__file__).parent / "0008_steps.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("usage", "0007_quotas")]

    operations = [
        migrations.AddField(
            "reservation",
            "calls",
            models.JSONField(
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text="What a run's earlier calls of its model used.",
            ),
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
