from pathlib import Path

import core.clock
import core.ids
import django.contrib.postgres.search
import django.core.validators
import django.db.models.deletion
import knowledge.fields
from django.db import migrations, models


SQL = (Path(__file__).parent / "0001_initial.sql").read_text()


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("llm", "0003_of_platform"),
    ]

    operations = [
        migrations.CreateModel(
            name="KnowledgeBase",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "slug",
                    models.CharField(
                        max_length=60,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9](?:[a-z0-9_-]{0,58}[a-z0-9])?\\Z",
                                "Use 1 to 60 small letters, digits, and inner _ or -.",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("description", models.CharField(blank=True, default="", max_length=1000)),
                (
                    "chunk_size",
                    models.PositiveIntegerField(
                        default=400,
                        validators=[
                            django.core.validators.MinValueValidator(50),
                            django.core.validators.MaxValueValidator(2000),
                        ],
                    ),
                ),
                (
                    "chunk_overlap",
                    models.PositiveIntegerField(default=60, validators=[django.core.validators.MaxValueValidator(500)]),
                ),
                (
                    "vector_weight",
                    models.FloatField(
                        default=0.7,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1),
                        ],
                    ),
                ),
                (
                    "keyword_weight",
                    models.FloatField(
                        default=0.3,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1),
                        ],
                    ),
                ),
                (
                    "top_k",
                    models.PositiveIntegerField(
                        default=6,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(50),
                        ],
                    ),
                ),
                ("model", models.CharField(default="hashing", max_length=120)),
                ("dimension", models.PositiveIntegerField(default=256)),
                (
                    "access",
                    models.CharField(
                        choices=[("everybody", "Everybody"), ("restricted", "Restricted")],
                        default="everybody",
                        max_length=10,
                    ),
                ),
                ("roles", models.JSONField(blank=True, default=list)),
                ("people", models.JSONField(blank=True, default=list)),
                ("created_by", models.CharField(blank=True, max_length=80)),
                ("created_at", models.DateTimeField(default=core.clock.now, editable=False)),
                (
                    "provider",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="llm.provideraccount",
                    ),
                ),
            ],
            options={
                "ordering": ["name", "id"],
            },
        ),
        migrations.CreateModel(
            name="Document",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("title", models.CharField(max_length=200)),
                (
                    "source",
                    models.CharField(choices=[("upload", "Upload"), ("text", "Text"), ("url", "Url")], max_length=6),
                ),
                ("url", models.CharField(blank=True, default="", max_length=2000)),
                ("kind", models.CharField(blank=True, default="", max_length=10)),
                ("key", models.CharField(blank=True, default="", max_length=120)),
                ("size", models.BigIntegerField(default=0)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("parsing", "Parsing"),
                            ("embedding", "Embedding"),
                            ("ready", "Ready"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=9,
                    ),
                ),
                ("progress", models.PositiveSmallIntegerField(default=0)),
                ("step", models.CharField(blank=True, default="", max_length=60)),
                ("error", models.CharField(blank=True, default="", max_length=500)),
                ("version", models.PositiveIntegerField(default=1)),
                ("live_version", models.PositiveIntegerField(default=0)),
                ("tags", models.JSONField(blank=True, default=list)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                ("chunk_count", models.PositiveIntegerField(default=0)),
                ("lease", models.UUIDField(null=True)),
                ("leased_until", models.DateTimeField(null=True)),
                ("user_id", models.UUIDField(null=True)),
                ("key_id", models.UUIDField(null=True)),
                ("created_at", models.DateTimeField(default=core.clock.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "base",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="documents",
                        to="knowledge.knowledgebase",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Chunk",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("version", models.PositiveIntegerField()),
                ("ordinal", models.PositiveIntegerField()),
                ("page", models.PositiveIntegerField(null=True)),
                ("heading", models.CharField(blank=True, default="", max_length=300)),
                ("text", models.TextField()),
                ("digest", models.BigIntegerField()),
                ("tsv", django.contrib.postgres.search.SearchVectorField()),
                ("dimension", models.PositiveSmallIntegerField()),
                ("embedding", knowledge.fields.HalfVectorField(null=True)),
                (
                    "document",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="chunks",
                        to="knowledge.document",
                    ),
                ),
                (
                    "base",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="knowledge.knowledgebase",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="document",
            index=models.Index(
                condition=models.Q(("state", "queued"), ("state", "parsing"), ("state", "embedding"), _connector="OR"),
                fields=["id"],
                name="knowledge_document_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="chunk",
            index=models.Index(fields=["base"], name="knowledge_chunk_base"),
        ),
        migrations.AddConstraint(
            model_name="chunk",
            constraint=models.UniqueConstraint(fields=("document", "version", "ordinal"), name="knowledge_chunk_once"),
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
