from pathlib import Path

from django.db import migrations, models

import core.clock

SQL = (Path(__file__).parent / "0007_phase1.sql").read_text()


def _object() -> models.JSONField:
    return models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict)


def _moment() -> models.DateTimeField:
    return models.DateTimeField(default=core.clock.now, editable=False)


class Migration(migrations.Migration):
    dependencies = [("agents", "0003_builtin"), ("chat", "0006_responses")]

    operations = [
        migrations.AddField("conversation", "config", _object()),
        migrations.AddField("conversation", "meta", _object()),
        migrations.AddField("message", "meta", _object()),
        migrations.AlterField(
            "run", "door", models.CharField(help_text="websocket, sse, openai, phase1 or import", max_length=12)
        ),
        migrations.AlterField("conversation", "created_at", _moment()),
        migrations.AlterField("conversation", "updated_at", _moment()),
        migrations.AlterField("message", "created_at", _moment()),
        migrations.AlterField("run", "created_at", _moment()),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
