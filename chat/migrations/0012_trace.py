from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = (Path(__file__).parent / "0012_trace.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("chat", "0011_files")]

    operations = [
        migrations.AddField(
            "conversation",
            "tainted",
            models.BooleanField(
                db_default=False, default=False, help_text="One of its runs has read something from outside."
            ),
        ),
        migrations.CreateModel(
            name="RunTrace",
            fields=[
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="trace",
                        serialize=False,
                        to="chat.run",
                    ),
                ),
                ("tainted", models.BooleanField(default=False)),
                ("document", models.TextField()),
            ],
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
