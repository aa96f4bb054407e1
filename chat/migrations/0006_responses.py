from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

import core.ids

SQL = (Path(__file__).parent / "0006_responses.sql").read_text()
UNDO = "DROP TRIGGER forget_response ON chat_run; DROP FUNCTION forget_response();"


class Migration(migrations.Migration):
    dependencies = [("chat", "0005_branches_link")]

    operations = [
        migrations.CreateModel(
            name="Response",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="response", to="chat.run"
                    ),
                ),
                (
                    "previous_id",
                    models.UUIDField(
                        help_text="The response that this one goes on from; it may be deleted.", null=True
                    ),
                ),
                (
                    "stored",
                    models.BooleanField(
                        default=True, help_text="False: nobody finds it, and it goes when its run ends."
                    ),
                ),
                ("request", models.TextField(help_text="JSON: the fields of the request that the answer repeats.")),
                (
                    "items",
                    models.TextField(
                        help_text="JSON: a list of items. Those of this request, the last ones, have no id."
                    ),
                ),
            ],
        ),
        migrations.RunSQL(SQL, UNDO),
    ]
