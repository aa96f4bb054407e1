from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0003_builtin")]

    operations = [
        migrations.AddField(
            "agentversion",
            "tools",
            models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.AddField(
            "agentversion",
            "limits",
            models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
    ]
