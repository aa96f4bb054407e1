from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0007_memory")]

    operations = [
        migrations.AddField(
            "agentversion",
            "output_schema",
            models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
    ]
