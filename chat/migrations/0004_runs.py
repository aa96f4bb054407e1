from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

import core.ids

SQL = (Path(__file__).parent / "0004_runs.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("chat", "0003_sessions_per_day")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="background",
            field=models.BooleanField(
                db_default=False, default=False, help_text="A worker's, and nobody waits for it."
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="status",
            field=models.CharField(
                choices=[
                    ("queued", "Queued"),
                    ("running", "Running"),
                    ("completed", "Completed"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                ],
                default="running",
                max_length=10,
            ),
        ),
        migrations.RemoveConstraint(model_name="run", name="one_run_a_conversation"),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("conversation__isnull", False),
                    models.Q(("status", "queued"), ("status", "running"), _connector="OR"),
                ),
                fields=("conversation",),
                name="one_run_a_conversation",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("status", "queued"), ("status", "running"), _connector="OR"),
                fields=["status"],
                name="run_unfinished",
            ),
        ),
        migrations.CreateModel(
            name="RunTask",
            fields=[
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="task",
                        serialize=False,
                        to="chat.run",
                    ),
                ),
                ("task", models.JSONField()),
            ],
        ),
        migrations.CreateModel(
            name="LetIn",
            fields=[
                ("caller_id", models.UUIDField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("caller_id", models.UUIDField()),
                ("key", models.CharField(max_length=255)),
                ("digest", models.CharField(max_length=64)),
                ("started", models.JSONField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "run",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="chat.run"),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="idempotencykey",
            constraint=models.UniqueConstraint(fields=("caller_id", "key"), name="idempotency_once"),
        ),
        migrations.AddIndex(
            model_name="idempotencykey",
            index=models.Index(fields=["created_at"], name="idempotency_old"),
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
