from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0009_ingestion")]

    operations = [
        migrations.AddField(
            "tenant",
            "guide_hidden",
            models.BooleanField(
                db_default=False,
                default=False,
                help_text="Its people put the first steps away.",
                verbose_name="first steps hidden",
            ),
        ),
    ]
