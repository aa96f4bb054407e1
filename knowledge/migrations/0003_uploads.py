import core.clock
import core.ids
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("knowledge", "0002_ingestion"),
    ]

    operations = [
        migrations.CreateModel(
            name="Upload",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=200)),
                ("size", models.BigIntegerField()),
                ("offset", models.BigIntegerField(default=0)),
                ("sha256", models.CharField(blank=True, default="", max_length=64)),
                ("key", models.CharField(blank=True, default="", max_length=120)),
                ("tags", models.JSONField(blank=True, default=list)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                ("replaces", models.UUIDField(null=True)),
                ("document", models.UUIDField(null=True)),
                ("user_id", models.UUIDField(null=True)),
                ("key_id", models.UUIDField(null=True)),
                ("created_at", models.DateTimeField(default=core.clock.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.AddIndex(
            model_name="chunk",
            index=models.Index(fields=["base", "digest"], name="knowledge_chunk_digest"),
        ),
        migrations.AddField(
            model_name="upload",
            name="base",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="uploads",
                to="knowledge.knowledgebase",
            ),
        ),
    ]
