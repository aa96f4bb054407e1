from pathlib import Path

from django.db import migrations

SQL = (Path(__file__).parent / "0010_memory.sql").read_text()


class Migration(migrations.Migration):
    dependencies = [("agents", "0007_memory"), ("chat", "0009_feedback")]

    operations = [migrations.RunSQL(SQL, "DROP FUNCTION start_turn_with_memory(jsonb)")]
