import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0002_immutable_versions")]

    operations = [
        migrations.AddField(
            "agent", "kind", models.CharField(blank=True, db_default="", default="", editable=False, max_length=10)
        ),
        migrations.AlterField(
            "agentversion",
            "provider",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="llm.provideraccount",
            ),
        ),
    ]
