from django.db import migrations, models

CAPS = {"free": (3, 5), "pro": (10, 50), "enterprise": (20, None)}


def fill_plans(apps, schema_editor):
    plan = apps.get_model("tenants", "Plan")
    for slug, (of_user, of_key) in CAPS.items():
        plan.objects.filter(slug=slug).update(max_concurrent_runs_per_user=of_user, max_concurrent_runs_per_key=of_key)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0004_plans_and_names")]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="max_concurrent_runs_per_user",
            field=models.IntegerField(
                blank=True, db_default=3, default=3, help_text="Of one person; more wait for their turn.", null=True
            ),
        ),
        migrations.AddField(
            model_name="plan",
            name="max_concurrent_runs_per_key",
            field=models.IntegerField(blank=True, help_text="Of one API key; more wait for their turn.", null=True),
        ),
        migrations.RunPython(fill_plans, migrations.RunPython.noop),
    ]
