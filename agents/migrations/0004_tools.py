from pathlib import Path

import django.core.validators
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
            "Tool",
            [
                ("id", _id()),
                (
                    "name",
                    models.CharField(
                        max_length=64,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-zA-Z0-9_-]{1,64}\\Z", "Use letters, digits, _ or -."
                            )
                        ],
                    ),
                ),
                ("description", models.CharField(max_length=1000)),
                (
                    "method",
                    models.CharField(
                        choices=[(one, one) for one in ("GET", "POST", "PUT", "PATCH", "DELETE")],
                        default="GET",
                        max_length=6,
                    ),
                ),
                ("url", models.CharField(max_length=1000)),
                ("parameters", models.JSONField(blank=True, default=list)),
                ("headers", models.JSONField(blank=True, default=dict)),
                ("secret", tenants.fields.EncryptedTextField(blank=True, default="")),
                ("secret_host", models.CharField(blank=True, default="", editable=False, max_length=255)),
                (
                    "result_path",
                    models.CharField(blank=True, default="", help_text="Such as data.items.0.title", max_length=200),
                ),
                ("enabled", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"ordering": ["name"]},
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
