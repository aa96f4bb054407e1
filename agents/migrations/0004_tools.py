from pathlib import Path

from django.db import migrations, models

import core.ids
import tenants.fields

SQL = (Path(__file__).parent / "0004_tools.sql").read_text()


def _id() -> models.UUIDField:
    return models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)


class Migration(migrations.Migration):
    dependencies = [("agents", "0003_builtin")]

    operations = [
        migrations.AddField(
            "agentversion",
            "tools",
            models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.AddField(
            "agentversion",
            "limits",
            models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.CreateModel(
            "ToolSetting",
            [
                ("id", _id()),
                ("name", models.CharField(max_length=64, unique=True)),
                ("enabled", models.BooleanField(default=True)),
                ("calls_per_day", models.PositiveIntegerField(null=True)),
                ("calls_per_month", models.PositiveIntegerField(null=True)),
                (
                    "api_key",
                    tenants.fields.EncryptedTextField(
                        blank=True, default="", help_text="For the service behind the tool, where it needs one."
                    ),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={"ordering": ["name"]},
        ),
        migrations.CreateModel(
            "ToolUse",
            [
                ("id", _id()),
                ("name", models.CharField(max_length=64)),
                ("day", models.DateField()),
                ("calls", models.IntegerField(default=0)),
                ("failed", models.IntegerField(default=0)),
                ("duration_ms", models.BigIntegerField(default=0)),
            ],
            options={"constraints": [models.UniqueConstraint(fields=["name", "day"], name="tool_use_once")]},
        ),
        migrations.CreateModel(
            "ToolCall",
            [
                ("id", _id()),
                ("at", models.DateTimeField()),
                ("run_id", models.UUIDField()),
                ("agent", models.CharField(max_length=60)),
                ("user_id", models.UUIDField(null=True)),
                ("key_id", models.UUIDField(null=True)),
                ("name", models.CharField(max_length=64)),
                ("effect", models.CharField(max_length=6)),
                ("ok", models.BooleanField(null=True)),
                ("duration_ms", models.IntegerField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["-at"], name="tool_call_recent"),
                    models.Index(fields=["run_id"], name="tool_call_run"),
                ]
            },
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
