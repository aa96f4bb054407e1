from pathlib import Path

from django.db import migrations

HERE = Path(__file__).parent
SQL = (HERE / "0006_find.sql").read_text()
# The function of the release before, under its own name.
BEFORE = (HERE / "0004_find.sql").read_text()
UNDO = "CREATE OR REPLACE " + BEFORE[BEFORE.index("FUNCTION knowledge_find(") :]


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0005_384_numbers")]

    operations = [migrations.RunSQL(SQL, UNDO)]
