from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0012_knowledge")]

    operations = [
        migrations.AddField(
            model_name="agentversion",
            name="rewrite_queries",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
