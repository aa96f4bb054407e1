from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_family_membership")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="approval_mails",
            field=models.BooleanField(
                db_default=True, default=True, help_text="Write to them when a run waits for them to decide."
            ),
        ),
    ]
