from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "0009_park.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("usage", "0008_steps")]

    operations = [
        migrations.RunSQL(SQL, "DROP FUNCTION public.usage_park(uuid, int, timestamptz, jsonb)"),
    ]
