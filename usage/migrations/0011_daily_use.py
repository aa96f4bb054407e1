from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

import core.ids
from tenants.db import rls

SQL = (Path(__file__).parent / "0011_daily_use.sql").read_text()
UNDO = """
DROP FUNCTION public.usage_summary(uuid, date, jsonb);
DROP FUNCTION public.usage_fold(uuid, date);
DROP FUNCTION public.usage_counted(uuid, timestamptz, timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0008_platform_providers"),
        ("usage", "0010_teams"),
    ]

    operations = [
        migrations.CreateModel(
            name="DailyUse",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("user_id", models.UUIDField(null=True)),
                ("key_id", models.UUIDField(null=True)),
                ("agent_id", models.UUIDField(null=True)),
                ("agent", models.CharField(max_length=60)),
                ("provider", models.CharField(max_length=60)),
                ("model", models.CharField(max_length=120)),
                ("currency", models.CharField(max_length=3)),
                ("runs", models.BigIntegerField()),
                ("calls", models.BigIntegerField()),
                ("unpriced", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("cost", models.DecimalField(decimal_places=12, max_digits=24, null=True)),
                ("tenant", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="tenants.tenant")),
            ],
            options={"indexes": [models.Index(fields=["tenant", "day"], name="daily_use_of_tenant")]},
        ),
        migrations.CreateModel(
            name="DailyUseMark",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("until", models.DateField()),
                ("tenant", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, to="tenants.tenant")),
            ],
        ),
        rls.protect("usage_dailyuse"),
        rls.protect("usage_dailyusemark"),
        migrations.RunSQL(SQL, UNDO),
    ]
