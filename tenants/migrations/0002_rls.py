from django.db import migrations

from tenants.db import rls


def add_plans(apps, schema_editor):
    plan = apps.get_model("tenants", "Plan")
    plan.objects.bulk_create(
        [
            plan(
                slug="free",
                name="Free",
                tokens_per_month=1_000_000,
                max_users=5,
                max_agents=10,
                max_concurrent_runs=10,
            ),
            plan(
                slug="pro",
                name="Pro",
                tokens_per_month=100_000_000,
                max_users=100,
                max_agents=200,
                max_concurrent_runs=100,
            ),
            plan(slug="enterprise", name="Enterprise", max_concurrent_runs=500),
        ]
    )


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]

    operations = [
        migrations.RunSQL(rls.BOUND_TENANT_SQL, "DROP FUNCTION public.bound_tenant()"),
        migrations.RunSQL(rls.REFUSE_CHANGE_SQL, "DROP FUNCTION public.refuse_change()"),
        migrations.RunPython(add_plans, migrations.RunPython.noop),
        rls.readable_by_tenants("tenants_plan"),
        rls.protect("tenants_tenant", tenant_column="id"),
        rls.protect("tenants_domain"),
    ]
