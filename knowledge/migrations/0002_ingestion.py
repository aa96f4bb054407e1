from pathlib import Path

import core.ids
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

SQL = (Path(__file__).parent / "0002_ingestion.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [
        ("knowledge", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="document",
            name="checksum",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddField(
            model_name="document",
            name="cut_version",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="document",
            name="failures",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="document",
            name="not_before",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="document",
            name="pages",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="knowledgebase",
            name="ocr",
            field=models.CharField(
                choices=[("auto", "Auto"), ("always", "Always"), ("never", "Never")],
                db_default="auto",
                default="auto",
                max_length=6,
            ),
        ),
        migrations.AddField(
            model_name="knowledgebase",
            name="ocr_chars",
            field=models.PositiveIntegerField(
                db_default=30, default=30, validators=[django.core.validators.MaxValueValidator(2000)]
            ),
        ),
        migrations.AddField(
            model_name="knowledgebase",
            name="next_provider",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="llm.provideraccount",
            ),
        ),
        migrations.AddField(
            model_name="knowledgebase",
            name="next_model",
            field=models.CharField(blank=True, db_default="", default="", max_length=120),
        ),
        migrations.AddField(
            model_name="knowledgebase",
            name="next_dimension",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.CreateModel(
            name="PageText",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("version", models.PositiveIntegerField()),
                ("page", models.PositiveIntegerField()),
                ("text", models.TextField(null=True)),
                (
                    "document",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="knowledge.document",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("document", "version", "page"), name="knowledge_page_once")
                ],
            },
        ),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
