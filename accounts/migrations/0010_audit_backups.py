from __future__ import annotations

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the log is long, and is written to meanwhile

    dependencies = [("accounts", "0009_approval_mails")]

    operations = [
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(fields=["-id"], condition=models.Q(action="backup.made"), name="audit_backups"),
        ),
    ]
