from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = (Path(__file__).parent / "0004_find.sql").read_text()
UNDO = """
DROP FUNCTION knowledge_find(uuid[], jsonb, text);
DROP FUNCTION knowledge_words(jsonb);
ALTER TABLE knowledge_chunk ALTER COLUMN tsv SET STORAGE EXTENDED;
DROP INDEX knowledge_document_metadata;
DROP INDEX knowledge_document_tags;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("llm", "0003_of_platform"),
        ("knowledge", "0003_uploads"),
    ]

    operations = [
        migrations.AddField(
            "knowledgebase",
            "reranker",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="llm.provideraccount",
            ),
        ),
        migrations.AddField(
            "knowledgebase",
            "rerank_model",
            models.CharField(blank=True, db_default="", default="", max_length=120),
        ),
        migrations.AddField("knowledgebase", "neighbours", models.BooleanField(db_default=False, default=False)),
        migrations.RunSQL(SQL, UNDO),
    ]
