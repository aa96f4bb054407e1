from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0011_team"), ("knowledge", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="agentversion",
            name="knowledge",
            field=models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
    ]
