import django.db.models.deletion
from django.db import migrations, models

import core.ids
from tenants.db import rls


def fill_plans(apps, schema_editor):
    plan = apps.get_model("tenants", "Plan")
    for slug, limit in {"free": 5, "pro": 100}.items():
        plan.objects.filter(slug=slug).update(max_schedules=limit)


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0006_limits"),
    ]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="max_schedules",
            field=models.IntegerField(blank=True, null=True),
        ),
        migrations.CreateModel(
            name="Alarm",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_index=True, help_text="Null: nothing is due.", null=True)),
                (
                    "tenant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="alarm", to="tenants.tenant"
                    ),
                ),
            ],
        ),
        rls.protect("tenants_alarm", tenant_may="SELECT, INSERT, UPDATE"),
        migrations.RunPython(fill_plans, migrations.RunPython.noop),
    ]
