from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0008_output_schema")]

    operations = [
        migrations.AddField(
            "toolsetting",
            "approval",
            models.CharField(
                choices=[("never", "Never"), ("tainted", "Tainted"), ("always", "Always")],
                db_default="tainted",
                default="tainted",
                max_length=8,
            ),
        ),
    ]
