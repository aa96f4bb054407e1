from pathlib import Path

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
from django.db import migrations, models

SQL = (Path(__file__).parent / "0017_search.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("chat", "0016_first_token")]

    operations = [
        migrations.AddField("conversation", "pinned_at", models.DateTimeField(null=True)),
        migrations.AddIndex(
            "conversation",
            models.Index(
                fields=["user_id", "-pinned_at"],
                condition=models.Q(pinned_at__isnull=False),
                name="conversation_pinned",
            ),
        ),
        migrations.CreateModel(
            name="MessageWords",
            fields=[
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="words",
                        serialize=False,
                        to="chat.message",
                    ),
                ),
                ("run_id", models.UUIDField()),
                ("words", django.contrib.postgres.search.SearchVectorField()),
            ],
            options={
                "indexes": [django.contrib.postgres.indexes.GinIndex(fields=["words"], name="message_search")],
            },
        ),
        migrations.RunSQL(SQL, "DROP FUNCTION messages_saying(jsonb); DROP FUNCTION words_of_message(text)"),
    ]
