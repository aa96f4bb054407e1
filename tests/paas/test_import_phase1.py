"""`manage.py import_phase1`: both shapes of files, twice, with bad rows, and only for show."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts import sign_in
from accounts.models import ApiKey, AuditEvent, Membership, User
from agents.models import Agent
from chat.models import Conversation, Message, Run
from paas.phase1_talk import ordered_id
from tenants import provisioning, scope
from tenants.models import Plan, Tenant
from tests.chat.ledger import Ledger
from tests.chat.test_phase1 import Client
from tests.conftest import in_thread
from tests.paas.phase1_files import BEGUN, OldFile, at
from tests.site import Site
from usage.models import UsageRecord


def run(path: Path, slug: str = "acme", **options: Any) -> dict[str, Any]:
    """The command's report as JSON."""
    out = io.StringIO()
    call_command("import_phase1", path, tenant=slug, json=True, stdout=out, stderr=io.StringIO(), **options)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def counted(report: dict[str, Any], what: str) -> dict[str, int]:
    return {table: counts[what] for table, counts in report["tables"].items()}


@pytest.fixture
def old(db: Any, tmp_path: Path) -> Callable[[int], OldFile]:
    return lambda phase: OldFile(tmp_path / f"phase{phase}.sqlite3", phase)


@pytest.fixture
def bound(db: Any) -> Callable[[Callable[[], Any]], Any]:
    def look(work: Callable[[], Any]) -> Any:
        with scope.bind(db.acme):
            return work()

    return look


def talk(file: OldFile) -> dict[str, str]:
    """Two sessions: one of two turns, the second of which failed, in one and the same second; one of another agent."""
    ids = {"first": file.session(config={"temperature": 0.5}, meta={"客户": 7}), "other": file.session("my_agent", 5)}
    # The ids run against the order, as random ones may.
    said = [("user", "你好", 0), ("assistant", "Echo: 你好", 11), ("user", "again", 0), ("assistant", "", 3)]
    for number, (role, content, tokens) in enumerate(said):
        own = {"id": str(uuid.UUID(int=(9 - number) << 100)), "tokens_used": tokens}
        ids[f"message {number}"] = file.message(ids["first"], role, content, 1, **own)
    ids["log"] = file.log(
        ids["first"], "again", 2, status="failed", error_message="ValueError: no", execution_time_ms=70
    )
    ids["alone"] = file.log(None, "without a session", 3)
    return ids


async def test_a_file_of_phase_1(old: Any, bound: Any, db: Any, site: Site) -> None:
    """Sessions, messages and logs; read and gone on with over the API, as before."""
    file = old(1)
    ids = talk(file)
    report = in_thread(lambda: run(file.done()))
    assert (report["phase"], report["bad"], report["sessions_of"]) == (1, [], "the API key phase1")
    assert counted(report, "imported") == {"sessions": 2, "agent_logs": 2, "messages": 4}

    client = Client(site, report["token"])
    _, listed = await client.call("GET", "/sessions")
    assert [one["id"] for one in listed["sessions"]] == [ids["other"], ids["first"]]
    assert listed["sessions"][1] == {
        "id": ids["first"], "agent_type": "echo_agent", "config": {"temperature": 0.5}, "metadata": {"客户": 7},
        "created_at": at(0).replace(" ", "T") + "+00:00", "updated_at": at(60).replace(" ", "T") + "+00:00",
        "message_count": 4,
    }  # fmt: skip
    _, history = await client.call("GET", f"/chat/history?session_id={ids['first']}")
    assert [(one["id"], one["content"], one["tokens_used"]) for one in history["messages"]] == [
        (ids["message 0"], "你好", 0), (ids["message 1"], "Echo: 你好", 11), (ids["message 2"], "again", 0),
        (ids["message 3"], "", 3),
    ]  # fmt: skip
    told = await client.events(agent_type="echo_agent", message="on", session_id=ids["first"])
    assert told[0][1]["content"] == "Echo: on"
    status, said = await client.call(
        "POST", "/chat/completions", {"agent_type": "my_agent", "message": "x", "session_id": ids["other"]}
    )
    assert (status, "my_agent" in said["message"]) == (400, True), "there is no such agent until somebody makes one"

    def look() -> None:
        failed, alone = Run.objects.get(id=ids["log"]), Run.objects.get(id=ids["alone"])
        assert (failed.status, failed.error_message, str(failed.conversation_id)) == (
            "failed", "ValueError: no", ids["first"],
        )  # fmt: skip
        assert {one.content for one in failed.messages.all()} == {"again", ""}
        assert alone.input == [{"role": "user", "content": "without a session"}]
        assert alone.finished_at - alone.created_at == timedelta(milliseconds=40)
        assert Conversation.objects.get(id=ids["first"]).title == "你好"
        assert Agent.objects.get(slug="my_agent").archived_at is not None
        assert UsageRecord.objects.count() == 1, "only what ran here is in the ledger"

    in_thread(lambda: bound(look))
    again = in_thread(lambda: run(file.done()))
    assert counted(again, "imported") == {"sessions": 0, "agent_logs": 0, "messages": 0}
    assert counted(again, "present") == {"sessions": 2, "agent_logs": 2, "messages": 4}
    assert "token" not in again


PASSWORD = "correct horse 电池 " + "x" * 80  # longer than the 72 bytes that bcrypt reads
TOKEN = "sk-phase2-" + "a1" * 20


def phase_2(file: OldFile) -> dict[str, str]:
    """A tenant with two people, one key of each kind, limits, and what it said."""
    file.add("tenants", id=file.tenant, name="initech", display_name="Initech GmbH", plan="pro", status="active")
    other = file.add("tenants", name="umbrella", display_name="Umbrella", plan="free", status="active")
    file.add("users", tenant_id=other, email="x@umbrella.test", role="admin", status="active", created_at=at(0))
    file.session(tenant_id=other)
    hashed = bcrypt.hashpw(PASSWORD.encode()[:72], bcrypt.gensalt(4)).decode()
    person = {"password_hash": hashed, "status": "active", "created_at": at(0)}
    ids = {
        "admin": file.add("users", email="Boss@initech.test", role="admin", **person),
        "user": file.add("users", email="worker@initech.test", role="user", **(person | {"created_at": at(9)})),
    }
    scopes = ["chat:read", "chat:write", "agent:execute", "billing:pay"]
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    ids["key"] = file.add("api_keys", user_id=ids["user"], key_hash=digest, name="old", scopes=scopes)
    file.add("api_keys", user_id=None, key_hash=hashed, name="slow", scopes=scopes)
    file.add(
        "tenant_quotas", max_users=9, max_agents=10, max_sessions_per_day=100, max_tokens_per_month=1_000_000,
        current_month_tokens=4321, reset_date=at(0),
    )  # fmt: skip
    return ids | talk(file)


@pytest.fixture
def no_initech() -> Any:
    yield
    with scope.platform():
        made = list(Tenant.objects.filter(slug="initech"))
        for tenant in made:
            tenant.delete()
    for tenant in made:
        provisioning.drop_schema(tenant.schema_name)


async def test_a_file_of_phase_2(old: Any, db: Any, site: Site, no_initech: Any) -> None:
    """The tenant is made; people sign in with their old passwords, the old key works, the limits hold."""
    file = old(2)
    ids = phase_2(file)
    report = in_thread(lambda: run(file.done(), "initech"))
    assert (report["phase"], report["bad"], report["sessions_of"]) == (2, [], "the API key old")
    assert counted(report, "imported") == {
        "tenant_quotas": 1, "users": 2, "api_keys": 1, "sessions": 2, "agent_logs": 2, "messages": 4,
    }  # fmt: skip
    assert report["keys"]["taken_over"] == ["old"]
    assert [(one["name"], one["scopes"]) for one in report["keys"]["to_make_anew"]] == [
        ("slow", ["chat:read", "chat:write", "agents:execute"])
    ]
    assert "token" not in report
    notes = " ".join(report["notes"])
    for said in ("4,321 tokens", "boss@initech.test is the owner", "left out the scopes billing:pay", "as SHA-256"):
        assert said in notes

    def look() -> None:
        with scope.platform():
            tenant = Tenant.objects.select_related("plan").get(slug="initech")
            assert tenant.name == "Initech GmbH"
            limits = ("max_users", "max_agents", "sessions_per_day", "tokens_per_month")
            assert [getattr(tenant.plan, name) for name in limits] == [9, 10, 100, 1_000_000]
            roles = dict(Membership.objects.filter(tenant=tenant).values_list("user__email", "role"))
            assert roles == {"boss@initech.test": "owner", "worker@initech.test": "member"}
        with scope.bind(tenant.ref()):
            user = sign_in.person_with_password(email="worker@initech.test", password=PASSWORD)
            assert user.password.startswith("bcrypt_sha256$"), "hashed anew, so that every byte counts from now on"
            assert sign_in.person_with_password(email="worker@initech.test", password=PASSWORD) == user
            assert str(ApiKey.objects.get(name="old").pk) == ids["key"]
            assert AuditEvent.objects.filter(action="tenant.imported").count() == 1

    in_thread(look)
    client = Client(site, TOKEN, "", "X-API-Key")
    status, listed = await client.call("GET", "/sessions")
    assert (status, [one["id"] for one in listed["sessions"]]) == (200, [ids["other"], ids["first"]])
    status, said = await client.call("POST", "/agents/error_agent/execute?task=x", {"error_type": "value"})
    assert (status, said["success"]) == (200, False), "it may execute; and what fails at once is in no ledger"
    assert (await Client(site, TOKEN + "x", "", "X-API-Key").call("GET", "/sessions"))[0] == 401

    again = in_thread(lambda: run(file.done(), "initech"))
    assert set(counted(again, "imported").values()) == {0}
    assert counted(again, "present") == counted(report, "imported")
    in_thread(lambda: _unchanged_audit())


def _unchanged_audit() -> None:
    with scope.platform():
        assert AuditEvent.objects.filter(action="tenant.imported").count() == 1


def test_bad_rows_are_named_and_left_out(old: Any, bound: Any) -> None:
    file = old(1)
    good, here = file.session(), str(uuid.uuid4())
    file.message(good, "user", "kept")
    wrong = {
        file.session(config="{not json"): "config is malformed JSON",
        file.session(meta="[1]"): "meta is JSON of the wrong kind",
        file.session("Not A Slug"): "no agent can be called 'Not A Slug'",
        file.session(created_at="yesterday"): "created_at is no time",
        file.session(id="7"): "id is no UUID",
        file.message(here, "user", "an orphan"): "its session was not imported",
        file.message(good, "robot", "x"): "role is 'robot'",
        file.message(good, "user", "x", tokens_used=-1): "tokens_used is no whole number",
        file.message(good, "user", None): "content is no text",
        file.log(here, "x"): "its session was not imported",
        file.log(None, "x", status=None): "status is no text",
    }
    file.session(id=good)
    wrong[good] = "this id is in the file twice"
    report = run(file.done())
    found = {one["id"]: one["reason"] for one in report["bad"]}
    assert found.keys() == wrong.keys()
    assert {row: said for row, said in found.items() if not said.startswith(wrong[row])} == {}
    assert {one["table"] for one in report["bad"]} == {"sessions", "messages", "agent_logs"}
    assert counted(report, "bad") == {"sessions": 6, "messages": 4, "agent_logs": 2}
    assert bound(lambda: list(Message.objects.values_list("content", flat=True))) == ["kept"]

    with pytest.raises(CommandError, match=r"sessions .*malformed JSON. Nothing was imported \(--strict\)"):
        run(file.done(), strict=True)


def test_strict_and_dry_run_change_nothing(old: Any, bound: Any, db: Any, services: Any) -> None:
    file = old(2)
    phase_2(file)
    file.message(str(uuid.uuid4()), "user", "an orphan")

    def state() -> Any:
        with scope.platform():
            shared = [model.objects.count() for model in (User, Membership, ApiKey, Plan, Tenant, AuditEvent)]
        return shared, bound(lambda: [model.objects.count() for model in (Agent, Conversation, Message, Run)])

    before = state()
    with pytest.raises(CommandError, match="its session was not imported"):
        run(file.done(), source="initech", strict=True)
    assert state() == before
    report = run(file.done(), source="initech", dry_run=True)
    assert state() == before
    assert (report["dry_run"], report["tables"]["messages"]["imported"], len(report["bad"])) == (True, 4, 1)

    out = io.StringIO()
    call_command("import_phase1", file.path, tenant="acme", source="initech", dry_run=True, stdout=out)
    told = out.getvalue()
    assert "would be imported" in told
    assert "bad: messages" in told
    assert "API key slow: has to be made anew" in told
    assert "Nothing was changed (--dry-run)." in told


def test_whose_the_sessions_are(old: Any, bound: Any, api_key: Any) -> None:
    file = old(1)
    session = file.session()
    with pytest.raises(CommandError, match="no API key named nobody"):
        run(file.done(), owner="nobody")
    with pytest.raises(CommandError, match="is no member"):
        run(file.done(), owner="rival@globex.test")
    report = run(file.done(), owner="member@acme.test")
    assert report["sessions_of"] == "member@acme.test"
    found = bound(lambda: Conversation.objects.get(id=session))
    assert (found.user_id, found.key_id) == (bound(lambda: User.objects.get(email="member@acme.test").pk), None)


def test_files_that_are_none(old: Any, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no file"):
        run(tmp_path / "nothing.sqlite3")
    text = tmp_path / "text.sqlite3"
    text.write_text("hello, this is no database at all, and long enough to be looked at as one " * 20)
    with pytest.raises(CommandError, match="is no SQLite database"):
        run(text)
    (tmp_path / "empty.sqlite3").touch()
    with pytest.raises(CommandError, match="The table sessions lacks"):
        run(tmp_path / "empty.sqlite3")
    file = old(2)
    for name in ("one", "two"):
        file.add("tenants", name=name, plan="free", status="active")
    with pytest.raises(CommandError, match="Say which tenant of the file with --from: one, two"):
        run(file.done())


def test_messages_keep_their_order_whatever_their_ids_are() -> None:
    """Microseconds and random ids: their ids here sort by time, and are the same each time."""
    base = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp() * 1_000_000)
    ids = [ordered_id(base + number, uuid.uuid4()) for number in range(3000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 3000
    assert all((one.version, one.variant) == (7, uuid.RFC_4122) for one in ids)
    same = uuid.uuid4()
    assert ordered_id(base, same) == ordered_id(base, same)
    assert BEGUN.year == 2025


def test_the_ledger_and_the_counters_are_as_before(old: Any, ledger_of_acme: Ledger) -> None:
    file = old(1)
    talk(file)
    run(file.done())
    assert ledger_of_acme.value("SELECT count(*) FROM usage_usagerecord") == 0
    assert ledger_of_acme.value("SELECT count(*) FROM usage_quota") == 0


@pytest.fixture
def ledger_of_acme(db: Any, services: Any) -> Any:
    found = Ledger(services.postgres.admin_url, db.acme.schema)
    yield found
    found.close()
