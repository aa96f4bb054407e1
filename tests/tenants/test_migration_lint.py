"""What a migration may not do while the release before is in use (A74, P20)."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.state import ProjectState

from tenants import migration_lint
from tenants.migration_lint import migration_findings, sql_findings

RUN: list[tuple[str, Any]] = [
    ("id", models.BigAutoField(primary_key=True)),
    ("name", models.CharField(max_length=20, null=True)),
]


def found(*operations: Any) -> list[tuple[str, str]]:
    """What is found of these in the room of chat, where a `run` and a `note` have been before."""
    state = ProjectState()
    for name in ("run", "note"):
        migrations.CreateModel(name, RUN).state_forwards("chat", state)
    migration = migrations.Migration("0099_next", "chat")
    migration.operations = list(operations)
    return [(one.rule, one.subject) for one in migration_findings(migration, state)]


def text(**more: Any) -> models.CharField[str, str]:
    return models.CharField(**{"max_length": 20} | more)


def test_ours_can_be_rolled_out() -> None:
    assert migration_lint.problems() == []


@pytest.mark.parametrize(
    ("operation", "rule", "subject"),
    [
        (migrations.RemoveField("run", "name"), "takes away", "chat_run.name"),
        (migrations.DeleteModel("note"), "takes away", "chat_note"),
        (migrations.RenameField("run", "name", "title"), "takes away", "chat_run"),
        (migrations.RenameModel("note", "notice"), "takes away", "chat_note"),
        (migrations.AddField("note", "title", text(default="")), "needs a default", "chat_note.title"),
        (migrations.AlterField("note", "name", text()), "narrows", "chat_note.name"),
        (migrations.AlterField("note", "name", text(null=True, max_length=10)), "narrows", "chat_note.name"),
        (migrations.AlterField("note", "name", models.IntegerField(null=True)), "narrows", "chat_note.name"),
        (migrations.AlterField("run", "name", text(null=True, unique=True)), "locks", "chat_run.name"),
        (migrations.AddField("run", "kind", text(null=True, db_index=True)), "locks", "chat_run.kind"),
        (migrations.AddIndex("run", models.Index(fields=["name"], name="by_name")), "locks", "chat_run"),
        (migrations.RunSQL("ALTER TABLE chat_note DROP COLUMN name"), "takes away", "chat_note"),
        (migrations.RunSQL([("ALTER TABLE chat_note RENAME TO notice", None)]), "takes away", "chat_note"),
        (migrations.RunSQL("ALTER TABLE chat_note ALTER COLUMN name SET NOT NULL"), "narrows", "chat_note"),
        (migrations.RunSQL("ALTER TABLE chat_note ALTER COLUMN name TYPE int"), "narrows", "chat_note"),
        (migrations.RunSQL("ALTER TABLE chat_note ADD COLUMN a text NOT NULL"), "needs a default", "chat_note"),
        (migrations.RunSQL("CREATE INDEX a ON chat_run (name)"), "locks", "chat_run"),
        (migrations.RunSQL("CREATE INDEX a ON public.usage_usagerecord (at)"), "locks", "usage_usagerecord"),
        (migrations.RunSQL("ALTER TABLE chat_run ADD CONSTRAINT a CHECK (true)"), "locks", "chat_run"),
        (migrations.RunSQL("UPDATE chat_message SET text = ''"), "locks", "chat_message"),
    ],
)
def test_what_is_refused(operation: Any, rule: str, subject: str) -> None:
    assert found(operation) == [(rule, subject)]


@pytest.mark.parametrize(
    "operations",
    [
        [migrations.AddField("run", "title", text(null=True))],
        [migrations.AddField("run", "title", text(db_default=""))],
        [migrations.AlterField("run", "name", text(null=True, max_length=40))],
        [migrations.AlterField("run", "name", models.TextField(null=True))],
        [migrations.AddIndex("note", models.Index(fields=["name"], name="by_name"))],
        [AddIndexConcurrently("run", models.Index(fields=["name"], name="by_name"))],
        [migrations.CreateModel("later", RUN), migrations.AddField("later", "title", text(default=""))],
        [migrations.RunSQL("ALTER TABLE chat_run ADD CONSTRAINT a CHECK (true) NOT VALID")],
        [migrations.RunSQL("ALTER TABLE chat_run ADD COLUMN a text NOT NULL DEFAULT ''")],
        [migrations.RunSQL("CREATE INDEX CONCURRENTLY a ON chat_run (name)")],
        [migrations.RunSQL("CREATE TABLE chat_run2 (a int NOT NULL); CREATE INDEX b ON chat_run2 (a)")],
        [migrations.RunPython(migrations.RunPython.noop)],
    ],
)
def test_what_is_not(operations: list[Any]) -> None:
    assert found(*operations) == []


def test_what_a_function_does_when_it_is_called_is_no_migration() -> None:
    body = (
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ UPDATE chat_run SET name = ''; $$; -- DROP TABLE chat_run"
    )
    assert list(sql_findings(body, set())) == []


def test_leave_that_nobody_needs_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_lint, "ALLOWED", {"chat.0001_initial": "of old"})
    said = migration_lint.problems()
    assert any("chat.0001_initial needs no leave" in line for line in said)
    assert any(line.startswith("chat.0013_approvals locks: chat_run") for line in said)
