from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0006_find")]

    operations = [
        migrations.AddField(
            model_name="document",
            name="said",
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
    ]
