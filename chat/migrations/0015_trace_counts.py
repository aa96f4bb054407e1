from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0014_agent_runs"),
    ]

    operations = [
        migrations.AddField(
            model_name="runtrace",
            name="members",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Func(
                    models.F("document"),
                    models.Value('"index":\\d+,"kind":"agent"'),
                    function="regexp_count",
                    output_field=models.IntegerField(),
                ),
                output_field=models.IntegerField(),
            ),
        ),
        migrations.AddField(
            model_name="runtrace",
            name="tools",
            field=models.GeneratedField(
                db_persist=True,
                expression=models.Func(
                    models.F("document"),
                    models.Value('"index":\\d+,"kind":"tool"'),
                    function="regexp_count",
                    output_field=models.IntegerField(),
                ),
                output_field=models.IntegerField(),
            ),
        ),
    ]
