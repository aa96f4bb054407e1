from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

import core.ids

SQL = (Path(__file__).parent / "0005_branches.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0002_immutable_versions"),
        ("chat", "0004_runs"),
    ]

    operations = [
        migrations.AddField(
            model_name="conversation",
            name="leaf_id",
            field=models.UUIDField(
                help_text="The last message of the path that is shown; null: not linked.", null=True
            ),
        ),
        migrations.AddField(
            model_name="message",
            name="parent_id",
            field=models.UUIDField(help_text="The message that it follows; null: a beginning.", null=True),
        ),
        migrations.AddField(
            model_name="run",
            name="asked_id",
            field=models.UUIDField(help_text="The message that is answered.", null=True),
        ),
        migrations.AddField(
            model_name="run",
            name="message_id",
            field=models.UUIDField(help_text="The answer that it wrote; while it runs: that it continues.", null=True),
        ),
        migrations.AlterField(
            model_name="message",
            name="superseded",
            field=models.BooleanField(default=False, help_text="Of before there were siblings: replaced by a retry."),
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("user_id", models.UUIDField()),
                ("name", models.CharField(max_length=120)),
                ("prompt", models.TextField()),
                (
                    "cron",
                    models.CharField(blank=True, help_text="Five fields; empty: by the interval.", max_length=100),
                ),
                ("every_seconds", models.IntegerField(null=True)),
                ("timezone", models.CharField(default="UTC", max_length=64)),
                ("mode", models.CharField(choices=[("new", "New"), ("one", "One")], default="new", max_length=3)),
                ("enabled", models.BooleanField(default=True)),
                (
                    "stopped",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("owner_gone", "Owner Gone"),
                            ("owner_may_not", "Owner May Not"),
                            ("failures", "Failures"),
                        ],
                        max_length=20,
                    ),
                ),
                ("failures", models.IntegerField(default=0, help_text="In a row.")),
                ("max_failures", models.IntegerField(default=5)),
                ("next_run_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "agent",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="agents.agent"),
                ),
                (
                    "conversation",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="chat.conversation",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ScheduledRun",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("due_at", models.DateTimeField()),
                ("by_hand", models.BooleanField(default=False)),
                ("taken_at", models.DateTimeField(help_text="When a worker last set about starting it.", null=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("due", "Due"),
                            ("started", "Started"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                            ("refused", "Refused"),
                        ],
                        default="due",
                        max_length=10,
                    ),
                ),
                ("code", models.CharField(blank=True, max_length=40)),
                ("message", models.TextField(blank=True)),
                ("conversation_id", models.UUIDField(null=True)),
                (
                    "schedule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="runs", to="chat.schedule"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(condition=models.Q(("enabled", True)), fields=["next_run_at"], name="schedule_due"),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(fields=["user_id", "-id"], name="schedule_own"),
        ),
        migrations.AddIndex(
            model_name="scheduledrun",
            index=models.Index(condition=models.Q(("ended_at", None)), fields=["id"], name="scheduled_run_open"),
        ),
        migrations.AddConstraint(
            model_name="scheduledrun",
            constraint=models.UniqueConstraint(fields=("schedule", "due_at"), name="due_once"),
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
