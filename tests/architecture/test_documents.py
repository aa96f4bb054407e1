"""What documents point to is there: links with their anchors, files, tests, commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
# `chat/search.py`; a name in it, such as a test's, stands behind two colons.
FILE = re.compile(
    r"^([\w.-]+(?:/[\w.-]+)+\.(?:py|sql|tsx?|js|json|ya?ml|sh|conf|ini|caddy|txt|md|png))(?:::(\w+)\S*)?$"
)
# Below one of these: documents about tests leave out tests/, those about the chat page frontend/.
BELOW = ("", "tests/", "frontend/", "frontend/src/", "docs/", "bench/", "chat/", "agents/")
MADE = ("secrets/", "var/")  # what an installation makes


@cache
def documents() -> list[Path]:
    """README and its like, docs/ and docs/adr/."""
    beside = (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))
    return [
        *beside,
        ROOT / "bench/README.md",
        ROOT / "frontend/README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "docs/adr").glob("*.md")),
    ]


@cache
def anchors(document: Path) -> set[str]:
    """The names of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_link(document: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    if "://" in path:
        return False
    leads_to = (document.parent / path).resolve() if path else document
    return not leads_to.exists() or bool(anchor and anchor not in anchors(leads_to))


def dead_file(document: Path, said: str) -> bool:
    found = FILE.match(said)
    if found is None or found[1].startswith(MADE):
        return False
    there = [ROOT / below / found[1] for below in BELOW if (ROOT / below / found[1]).is_file()]
    there += [one for one in [document.parent / found[1]] if one.is_file()]
    return not there or bool(found[2] and not any(re.search(rf"\b{found[2]}\b", one.read_text()) for one in there))


@cache
def names_of_tests() -> set[str]:
    """Of functions and files, without `.py`."""
    files = list((ROOT / "tests").rglob("*.py"))
    return {one.stem for one in files}.union(*(re.findall(r"def (test_\w+)", one.read_text()) for one in files))


def dead_test(_document: Path, said: str) -> bool:
    found = re.fullmatch(r"(?:\w+::)?(test_\w+)(?:\.py)?(?:::(test_\w+))?", said)
    return found is not None and not {name for name in found.groups() if name} <= names_of_tests()


def dead_command(_document: Path, said: str) -> bool:
    words = said.replace(".venv/bin/", "").split()
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    if len(words) > 1 and words[0] == "make":
        return not re.search(rf"^{re.escape(words[1])}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    if "manage.py" in words[:2] and words[-1] != "manage.py":
        command = words[words.index("manage.py") + 1]
        return re.fullmatch(r"[a-z_]+[a-z0-9_]*", command) is not None and command not in get_commands()
    if words[:2] in (["python", "-m"], ["python3", "-m"]) and len(words) > 2:
        return find_spec(words[2]) is None
    return False


def said_in(document: Path) -> Iterator[str]:
    """What stands in backticks, and the lines of blocks for a shell."""
    text = document.read_text()
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        yield from (line.split("#")[0].strip() for line in block.splitlines() if line.strip())
    yield from CODE.findall(FENCE.sub("", text))


@pytest.mark.parametrize("dead", [dead_file, dead_test, dead_command])
def test_what_documents_name_is_there(dead: Callable[[Path, str], bool]) -> None:
    found = {f"{one.relative_to(ROOT)}: {said}" for one in documents() for said in said_in(one) if dead(one, said)}
    assert found == set()


def test_links_lead_somewhere() -> None:
    links = [(one, link) for one in documents() for link in LINK.findall(FENCE.sub("", one.read_text()))]
    assert {f"{one.relative_to(ROOT)}: {link}" for one, link in links if dead_link(one, link)} == set()


@pytest.mark.parametrize(
    ("dead", "said"),
    [
        (dead_link, "docs/nowhere.md"),
        (dead_link, "docs/api.md#nowhere"),
        (dead_file, "chat/nowhere.py"),
        (dead_file, "architecture/test_models.py::test_nothing"),
        (dead_test, "test_of_nothing"),
        (dead_test, "test_models.py::test_of_nothing"),
        (dead_command, "make nothing"),
        (dead_command, "X=1 .venv/bin/python manage.py do_nothing --now"),
        (dead_command, "python -m bench.nothing"),
    ],
)
def test_the_rules_see_each_way(dead: Callable[[Path, str], bool], said: str) -> None:
    assert dead(ROOT / "README.md", said)
