from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

import core.clock
import core.ids

SQL = (Path(__file__).parent / "0013_approvals.sql").read_text()
UNDO = (
    "DROP TRIGGER close_approvals ON chat_run; DROP FUNCTION close_approvals(); DROP FUNCTION run_taint(uuid); "
    "DROP FUNCTION park_run(jsonb, bytea);"
)
UNFINISHED = models.Q(("status", "queued"), ("status", "running"), ("status", "waiting"), _connector="OR")


class Migration(migrations.Migration):
    dependencies = [("chat", "0012_trace")]

    operations = [
        migrations.AlterField(
            "run",
            "status",
            models.CharField(
                choices=[
                    ("queued", "Queued"),
                    ("running", "Running"),
                    ("waiting", "Waiting"),
                    ("completed", "Completed"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                ],
                default="running",
                max_length=10,
            ),
        ),
        migrations.RemoveConstraint("run", "one_run_a_conversation"),
        migrations.AddConstraint(
            "run",
            models.UniqueConstraint(
                condition=models.Q(("conversation__isnull", False), UNFINISHED),
                fields=("conversation",),
                name="one_run_a_conversation",
            ),
        ),
        migrations.CreateModel(
            name="Approval",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="approvals", to="chat.run"
                    ),
                ),
                ("user_id", models.UUIDField(null=True)),
                ("key_id", models.UUIDField(null=True)),
                ("call_id", models.TextField()),
                ("path", models.TextField(blank=True)),
                ("name", models.CharField(max_length=64)),
                ("effect", models.CharField(max_length=6)),
                ("arguments", models.TextField()),
                ("arguments_hash", models.CharField(max_length=64)),
                ("reason", models.CharField(max_length=10)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("approved", "Approved"),
                            ("denied", "Denied"),
                            ("expired", "Expired"),
                        ],
                        default="pending",
                        max_length=8,
                    ),
                ),
                ("decided_by", models.UUIDField(null=True)),
                ("note", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(default=core.clock.now, editable=False)),
                ("decided_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["status", "-id"], name="approval_status"),
                    models.Index(fields=["user_id", "-id"], name="approval_own"),
                ],
            },
        ),
        migrations.RunSQL(SQL, UNDO),
    ]
