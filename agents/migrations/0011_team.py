from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0010_mcp_connections")]

    operations = [
        migrations.AddField(
            "agentversion",
            "team",
            models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
    ]
