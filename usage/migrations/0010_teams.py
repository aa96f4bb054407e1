from pathlib import Path

from django.db import migrations, models

SQL = (Path(__file__).parent / "0010_teams.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("usage", "0009_park")]

    operations = [
        migrations.AddField(
            "reservation",
            "other_costs",
            models.JSONField(
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                help_text="What a team's run holds in other currencies than its first: currency -> billionths.",
            ),
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
