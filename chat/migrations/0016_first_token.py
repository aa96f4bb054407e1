from pathlib import Path

from django.db import migrations, models

SQL = (Path(__file__).parent / "0016_first_token.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("chat", "0015_trace_counts")]

    operations = [
        migrations.AddField(
            "run",
            "first_ms",
            models.IntegerField(
                help_text="Milliseconds from the turn's start to its first token; null: none, or not seen.", null=True
            ),
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
