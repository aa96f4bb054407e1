from django.db import migrations

from tenants.db import rls


def fill_plans(apps, schema_editor):
    plan = apps.get_model("tenants", "Plan")
    limits = {
        "free": {"sessions_per_day": 100, "storage_bytes": 1_000_000_000, "requests_per_minute": 600},
        "pro": {"sessions_per_day": 10_000, "storage_bytes": 50_000_000_000, "requests_per_minute": 6_000},
    }
    for slug, fields in limits.items():
        plan.objects.filter(slug=slug).update(**fields)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0003_tenant_life")]

    operations = [
        migrations.RunPython(fill_plans, migrations.RunPython.noop),
        rls.protect("tenants_retiredslug"),
    ]
