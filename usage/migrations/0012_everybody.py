from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "0012_everybody.sql").read_text()
UNDO = "DROP FUNCTION public.usage_of_everybody(date, timestamptz, integer)"


class Migration(migrations.Migration):
    dependencies = [("usage", "0011_daily_use")]

    operations = [migrations.RunSQL(SQL, UNDO)]
