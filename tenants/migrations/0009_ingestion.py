import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0008_platform_providers"),
    ]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="ingest_weight",
            field=models.PositiveSmallIntegerField(
                db_default=1,
                default=1,
                help_text="Shares of the workers' time for documents, while other tenants' documents wait too.",
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100)],
            ),
        ),
        migrations.AddField(
            model_name="plan",
            name="max_documents",
            field=models.IntegerField(blank=True, help_text="Of knowledge, in all bases together.", null=True),
        ),
        migrations.AddField(
            model_name="plan",
            name="max_pages",
            field=models.IntegerField(
                blank=True,
                help_text="Of these documents; of one without pages as many as its text would fill.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="limit",
            name="metric",
            field=models.CharField(
                choices=[
                    ("tokens", "Tokens"),
                    ("cost", "Cost"),
                    ("requests", "Requests"),
                    ("sessions", "Sessions"),
                    ("concurrent_runs", "Runs"),
                    ("users", "Users"),
                    ("agents", "Agents"),
                    ("storage_bytes", "Storage"),
                    ("documents", "Documents"),
                    ("pages", "Pages"),
                ],
                max_length=20,
            ),
        ),
    ]
