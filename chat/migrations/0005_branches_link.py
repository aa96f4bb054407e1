"""Links the messages of old conversations, some hundred conversations in each transaction.

Runs beside the platform: a conversation is held only while it is linked, what is used meanwhile links itself
(turn_place), and a run that is interrupted goes on where it stopped.
"""

import uuid

from django.db import migrations, transaction

AT_ONCE = 500


def link(apps, schema_editor):
    conversation = apps.get_model("chat", "Conversation")
    last = uuid.UUID(int=0)
    while True:
        waiting = conversation.objects.filter(leaf_id=None, id__gt=last).order_by("id")
        ids = list(waiting.values_list("id", flat=True)[:AT_ONCE])
        if not ids:
            return
        with transaction.atomic(), schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT link_messages(%s::uuid[])", [ids])
        last = ids[-1]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("chat", "0005_branches")]

    operations = [migrations.RunPython(link, migrations.RunPython.noop)]
