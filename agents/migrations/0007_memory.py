from pathlib import Path

import core.clock
import core.ids
import django.db.models.deletion
from django.db import migrations, models

SQL = (Path(__file__).parent / "0007_memory.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0006_mcp"),
    ]

    operations = [
        migrations.CreateModel(
            name="MemoryPause",
            fields=[
                ("user_id", models.UUIDField(primary_key=True, serialize=False)),
                ("since", models.DateTimeField(default=core.clock.now, editable=False)),
            ],
        ),
        migrations.AddField(
            model_name="agentversion",
            name="memory",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.CreateModel(
            name="Memory",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("user_id", models.UUIDField()),
                ("text", models.CharField(max_length=500)),
                ("run_id", models.UUIDField()),
                ("tainted", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(default=core.clock.now, editable=False)),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="memories", to="agents.agent"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["user_id", "agent", "-id"], name="memory_newest")],
                "constraints": [models.UniqueConstraint(fields=("user_id", "agent", "text"), name="memory_once")],
            },
        ),
        migrations.RunSQL(SQL, "DROP FUNCTION memories_for(uuid, uuid, bigint)"),
    ]
