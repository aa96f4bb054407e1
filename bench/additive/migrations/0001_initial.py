"""A table, and a column with its index on a table that is there: the kind of change a release usually brings."""

import uuid

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            name="Note",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("text", models.TextField(default="")),
                ("created_at", models.DateTimeField(auto_now_add=True, db_index=True)),
            ],
        ),
        migrations.RunSQL(
            "ALTER TABLE chat_message ADD COLUMN note text NOT NULL DEFAULT '';"
            "CREATE INDEX additive_message_note ON chat_message (note)"
        ),
    ]
