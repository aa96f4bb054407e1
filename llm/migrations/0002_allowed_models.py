"""The models that agents may ask of an account."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("llm", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="provideraccount",
            name="allowed_models",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=120),
                blank=True,
                db_default=[],
                default=list,
                help_text="The models that agents may ask; empty: all.",
                size=None,
            ),
        ),
    ]
