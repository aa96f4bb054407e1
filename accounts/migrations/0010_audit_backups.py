from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0009_approval_mails")]

    operations = [
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["-id"], condition=models.Q(action="backup.made"), name="audit_backups"),
        ),
    ]
