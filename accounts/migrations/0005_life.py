from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_rls_and_audit_chain")]

    operations = [
        migrations.RemoveField(model_name="signup", name="name"),
        migrations.RemoveField(model_name="signup", name="password"),
    ]
