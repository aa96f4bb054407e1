"""What the sources may say: lengths, words, and who may touch connections and threads (P1, P8, P15).

ruff's banned-api knows imports; this knows calls too, and an exemption that is no longer needed fails.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parsing import ROOT, parsed, sources

ROOMS = ("core", "tenants", "accounts", "usage", "llm", "knowledge", "agents", "chat", "portal", "paas")
BESIDE = ("launch", "bench", "tests")
FACES = ("chat/transports", "portal")
MOST_LINES = 500
IDS_OF_OURS = frozenset({*ROOMS, *BESIDE})

# Names that reach past the binding -> what to use in their place.
BANNED = {
    "connection": "tenants.scope and the ORM",
    "connections": "tenants.scope and the ORM",
    "sync_to_async": "tenants.scope.run_bound",
    "run_in_executor": "tenants.scope.run_bound",
    "ThreadPoolExecutor": "tenants.scope.run_bound",
    "ProcessPoolExecutor": "a job",
    "Thread": "tenants.scope.run_bound",
    "set_tenant": "tenants.scope.bind",
    "set_schema": "tenants.scope.bind",
    "schema_context": "tenants.scope.bind",
    "tenant_context": "tenants.scope.bind",
    "RawSQL": "the ORM, or a function that a migration owns",
}
# Methods of the ORM that take SQL as text.
BANNED_CALLS = frozenset({"raw", "extra"})
# (file, name) -> why it may. Only these outside tenants/.
EXEMPT: dict[tuple[str, str], str] = {
    ("core/tracing.py", "Thread"): "the end of the SDK's own thread is waited for; it touches no database",
    ("paas/telemetry.py", "Thread"): "serves /metrics from memory, so that a scrape holds up no stream",
}


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of each import; name is "" for a plain one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def reaches(text: str) -> set[str]:
    """The banned names that a source imports from Django, asgiref, django-tenants or the standard library, or calls."""
    tree, found = parsed(text), set()
    for module, name in imported(tree):
        top = module.split(".")[0]
        if top == "django_tenants":
            found.add("django_tenants")
        elif name in BANNED and top in ("django", "asgiref", "concurrent", "threading"):
            found.add(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = node.func.attr
            if called in BANNED or (called in BANNED_CALLS and _on_a_manager(node.func.value)):
                found.add(called)
    return found


def _on_a_manager(value: ast.expr) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "objects" for node in ast.walk(value))


def exempt(path: str) -> bool:
    return path.startswith("tenants/")


# --- the rules ---------------------------------------------------------------------------------------


def test_only_the_tenants_room_touches_connections_and_threads() -> None:
    found = {(path, name) for path, text in sources(*ROOMS) if not exempt(path) for name in reaches(text)}
    new = {f"{path}: {name}; use {BANNED.get(name, 'tenants.scope')}" for path, name in found - EXEMPT.keys()}
    assert new == set()
    assert EXEMPT.keys() - found == set(), "these exemptions are no longer needed"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from django.db import connection", "connection"),
        ("from django.db import transaction, connections as c", "connections"),
        ("from asgiref.sync import sync_to_async", "sync_to_async"),
        ("from concurrent.futures import ThreadPoolExecutor", "ThreadPoolExecutor"),
        ("import concurrent.futures\nconcurrent.futures.ThreadPoolExecutor()", "ThreadPoolExecutor"),
        ("import threading\nthreading.Thread(target=print).start()", "Thread"),
        ("async def f(loop):\n    await loop.run_in_executor(None, print)", "run_in_executor"),
        ("from django_tenants.utils import schema_context", "django_tenants"),
        ("import django_tenants.utils", "django_tenants"),
        ("def f(wrapper):\n    wrapper.set_schema('x')", "set_schema"),
        ("User.objects.raw('SELECT 1')", "raw"),
        ("User.objects.filter(a=1).extra(where=['1'])", "extra"),
        ("from django.db.models.expressions import RawSQL", "RawSQL"),
    ],
)
def test_the_rule_sees_each_way(source: str, name: str) -> None:
    assert name in reaches(source)


def test_the_rule_lets_others_be() -> None:
    assert reaches("from tenants import scope\nscope.run_bound\nresponse.raw('x')\nconnection = 1") == set()


def test_faces_ask_selectors_and_services() -> None:
    """Whoever speaks HTTP or websocket gets rows from a function that knows the actor."""
    faces = [path for path, _ in sources(*ROOMS) if path.endswith("/api.py") or path.startswith(FACES)]
    assert len(faces) >= 6, faces
    direct = [path for path, text in sources(*ROOMS) if path in faces and ".objects" in text]
    assert direct == []


def test_no_file_is_longer_than_it_should_be() -> None:
    long = {path: text.count("\n") for path, text in sources(*ROOMS, *BESIDE) if text.count("\n") > MOST_LINES}
    assert long == {}


def test_nothing_is_left_for_later() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    marks = [
        f"{path}:{number}"
        for path, text in sources(*ROOMS, *BESIDE)
        for number, line in enumerate(text.splitlines(), 1)
        if any(f"{word}" in line.split("#", 1)[-1] for word in words) and "#" in line
    ]
    assert marks == []


def test_the_ground_floor_stands_on_nothing_of_ours() -> None:
    for path, text in sources("core"):
        for module, _ in imported(parsed(text)):
            assert module.split(".")[0] not in IDS_OF_OURS - {"core"}, f"{path} imports {module}"


def test_the_tenants_room_stands_on_core_alone() -> None:
    above = IDS_OF_OURS - {"core", "tenants"}
    for path, text in sources("tenants"):
        for module, _ in imported(parsed(text)):
            assert module.split(".")[0] not in above, f"{path} imports {module}"


def test_the_launcher_imports_no_application() -> None:
    for path, text in sources("launch"):
        for module, _ in imported(parsed(text)):
            assert module.split(".")[0] not in {*ROOMS, "django"}, f"{path} imports {module}"


def test_nobody_imports_the_wiring() -> None:
    """`paas` is imported by nobody below it (but for `paas.env`, which reads the environment)."""
    for path, text in sources(*(room for room in ROOMS if room != "paas")):
        for module, name in imported(parsed(text)):
            allowed = module == "paas.env" or (module == "paas" and name == "env")
            assert allowed or module.split(".")[0] != "paas", f"{path} imports {module}"


@pytest.mark.parametrize("sheet", sorted((ROOT / "static" / "portal").glob("*.css")), ids=lambda path: path.name)
def test_style_sheets_close_what_they_open(sheet: Path) -> None:
    """A browser says nothing about a brace that is missing: it drops what follows, or puts it under a condition."""
    depth = 0
    for number, line in enumerate(sheet.read_text().splitlines(), 1):
        assert depth == 0 or not line.startswith("/*"), f"line {number} begins a section inside a rule"
        depth += line.count("{") - line.count("}")
        assert depth >= 0, f"line {number}"
    assert depth == 0
