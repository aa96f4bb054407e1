from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

import core.ids
from tenants.db import rls

SQL = (Path(__file__).parent / "0004_sessions_per_day.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("usage", "0003_key_budgets"), ("tenants", "0004_plans_and_names")]

    operations = [
        migrations.CreateModel(
            name="SessionCount",
            fields=[
                (
                    "id",
                    models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("day", models.DateField()),
                ("begun", models.IntegerField(default=0)),
                (
                    "tenant",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="tenants.tenant"),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("tenant",), name="session_count_once")],
            },
        ),
        rls.protect("usage_sessioncount", tenant_may="SELECT, INSERT, UPDATE"),
        migrations.RunSQL(SQL, migrations.RunSQL.noop),
    ]
