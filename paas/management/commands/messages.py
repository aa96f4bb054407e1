"""The translations: every sentence of templates, code and errors has one, and the compiled catalogue is up to date."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template import Template
from django.templatetags.i18n import BlockTranslateNode, TranslateNode
from django.utils.translation import trim_whitespace

from core.errors import ERRORS
from paas.console import words

CATALOGUE = settings.ROOT / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
ROOMS = ("tenants", "accounts", "usage", "llm", "knowledge", "agents", "chat", "portal", "paas")
FUNCTIONS = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}
# What refuses an operator's form says why in words of its own (core/sentences.py).
REFUSING = (
    *("usage/invoices.py", "usage/prices.py", "usage/corrections.py", "usage/statements.py"),
    *("accounts/impersonation.py", "accounts/second_factor.py"),
)
FILLED = re.compile(r"%\(\w+\)[sd]")
STRAY = re.compile(r"(?<!%)%(?![%(])")
OWN_TEMPLATES = ("portal", "mail", "admin")


class Command(BaseCommand):
    help = "Compile locale/*.po (--check: write nothing, fail when a sentence is missing or the .mo is old)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        import polib  # of the development packages: catalogues are compiled where they are changed

        catalogue = polib.pofile(str(CATALOGUE), check_for_duplicates=True)
        known = {entry.msgid for entry in catalogue if entry.translated()}
        wanted = set(sentences())
        problems = [f"not translated: {one!r}" for one in sorted(wanted - known)]
        problems += [f"nobody says: {one!r}" for one in sorted({entry.msgid for entry in catalogue} - wanted)]
        problems += [f"does not fill in what the sentence does: {one.msgid!r}" for one in catalogue if differs(one)]
        compiled = CATALOGUE.with_suffix(".mo")
        if not options["check"]:
            compiled.write_bytes(catalogue.to_binary())
        elif compiled.read_bytes() != catalogue.to_binary():
            problems.append("django.mo is older than django.po: run `manage.py messages`")
        if problems:
            raise CommandError("\n".join(problems))


def differs(entry: Any) -> bool:
    """Whether the translation has other places to fill in, or a percent sign that Python would take for one."""
    return "%(" in entry.msgid and any(
        set(FILLED.findall(entry.msgid)) ^ set(FILLED.findall(one)) or STRAY.search(one)
        for one in (entry.msgstr, *entry.msgstr_plural.values())
        if one
    )


def sentences() -> Iterator[str]:
    """Every sentence that people are told, as the catalogue names it."""
    yield from (spec.message for spec in ERRORS.values())
    yield from words.names()
    for folder in OWN_TEMPLATES:
        for path in sorted((settings.ROOT / "templates" / folder).rglob("*.*")):
            yield from _of_template(path)
    for name in REFUSING:
        yield from _refusals(settings.ROOT / name)
    for room in ROOMS:
        for path in sorted((settings.ROOT / room).rglob("*.py")):
            yield from _of_code(path)


def _of_template(path: Path) -> Iterator[str]:
    nodes: Any = Template(path.read_text()).nodelist
    for node in nodes.get_nodes_by_type(TranslateNode):
        if isinstance(node.filter_expression.var.literal, str):
            yield node.filter_expression.var.literal
    for node in nodes.get_nodes_by_type(BlockTranslateNode):
        yield _msgid(node, node.singular)
        if node.plural:
            yield _msgid(node, node.plural)


def _msgid(node: Any, tokens: Any) -> str:
    text, _ = node.render_token_list(tokens)
    return trim_whitespace(text) if node.trimmed else str(text)


def _of_code(path: Path) -> Iterator[str]:
    yield from _constants(path, FUNCTIONS, 0)


def _refusals(path: Path) -> Iterator[str]:
    yield from _constants(path, {"PaasError"}, 1)


def _constants(path: Path, functions: set[str], place: int) -> Iterator[str]:
    """Texts that are written as that argument of calls of these functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            given = node.args[place] if len(node.args) > place else None
            if isinstance(given, ast.Constant) and isinstance(given.value, str):
                yield given.value
