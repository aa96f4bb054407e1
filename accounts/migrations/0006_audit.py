import core.ids
import django.db.models.deletion
from django.db import migrations, models
from tenants.db import rls


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_life"),
        ("tenants", "0004_plans_and_names"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditHead",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField(default=0)),
                ("digest", models.BinaryField(default=b"", help_text="Of row `seq`; empty for 0.")),
                (
                    "verified_at",
                    models.DateTimeField(help_text="When everything up to `seq` was last found whole.", null=True),
                ),
                ("problem", models.CharField(blank=True, help_text="What the last look found broken.", max_length=300)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("tenant",), name="audit_head_once", nulls_distinct=False)
                ],
            },
        ),
        rls.protect("accounts_audithead"),
    ]
