from django.db import migrations

from tenants.db import rls


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_initial")]

    operations = [rls.append_only("agents_agentversion", schema="")]
