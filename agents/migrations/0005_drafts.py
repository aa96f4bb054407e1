from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0004_tools")]

    operations = [
        migrations.AddField("agent", "draft", models.JSONField(blank=True, editable=False, null=True)),
        migrations.AddField(
            "agentversion", "note", models.CharField(blank=True, db_default="", default="", max_length=500)
        ),
        migrations.AddField("agentversion", "restores", models.PositiveIntegerField(blank=True, null=True)),
        migrations.AddConstraint(
            "agentversion",
            models.UniqueConstraint(
                condition=models.Q(number__gt=0), fields=("agent", "number"), name="agent_version_published_once"
            ),
        ),
        # Drafts that are tried all have the number 0.
        migrations.RemoveConstraint("agentversion", "agent_version_once"),
    ]
