import django.db.models.deletion
from django.db import migrations, models

import core.clock
import core.ids


class Migration(migrations.Migration):
    dependencies = [("agents", "0005_drafts"), ("chat", "0007_phase1")]

    operations = [
        migrations.CreateModel(
            name="Feedback",
            fields=[
                (
                    "id",
                    models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("author_id", models.UUIDField()),
                ("by_key", models.BooleanField(default=False)),
                ("rating", models.CharField(choices=[("up", "Up"), ("down", "Down")], max_length=4)),
                ("comment", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(default=core.clock.now, editable=False)),
                ("updated_at", models.DateTimeField(default=core.clock.now, editable=False)),
                (
                    "message",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="feedback", to="chat.message"
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="agents.agentversion"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["version", "-id"], name="feedback_of_version")],
                "constraints": [models.UniqueConstraint(fields=("message", "author_id"), name="feedback_once")],
            },
        ),
    ]
