"""The console speaks Chinese: the names of its tables, columns, acts and forms, and what their fields explain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import polib
import pytest
from django.conf import settings
from django.contrib import admin
from django.utils.translation import get_language, override

from accounts.models import User
from paas.console import words
from tenants import scope
from tests.conftest import Platform
from tests.console import Console, console  # noqa: F401 - the fixture
from tests.contracts.access import CONSOLE_MODELS
from tests.portal.test_every_page import english_in
from tests.usage.entries import entry

CATALOGUE = settings.ROOT / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
# Names and commands, the same in every language.
KNOWN = {"manage.py"}
HAN = re.compile(r"[\u4e00-\u9fff]")
IDS = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")  # which may look like words
# The same in both languages.
ALIKE = re.compile(r"(?:ID|CSV|UTC|#rrggbb|[\W\d]*)\Z")


def named() -> Iterator[tuple[str, Any]]:
    """(where, what it is called) of everything that the console shows of its tables."""
    for model, one in admin.site._registry.items():
        options = model._meta
        label = options.label_lower
        yield label, options.verbose_name
        yield f"{label} plural", options.verbose_name_plural
        for field in options.concrete_fields:
            yield f"{label}.{field.name}", field.verbose_name
            yield f"{label}.{field.name} help", field.help_text
        for name in (*one.list_display, *one.readonly_fields, *one.actions, *one.actions_detail, *one.actions_list):
            function = getattr(one, name, None) if isinstance(name, str) else None
            if function is not None and getattr(function, "short_description", None):
                yield f"{label}: {name}", function.short_description


def test_every_name_has_a_chinese_one() -> None:
    assert {model._meta.label_lower for model in admin.site._registry} == CONSOLE_MODELS
    with override("zh-hans"):
        found = {where: str(said) for where, said in named() if said}
    assert len(found) > 300
    assert {where: said for where, said in found.items() if not HAN.search(said) and not ALIKE.match(said)} == {}


def test_the_catalogue_is_asked_for_each_of_them() -> None:
    """What `manage.py messages` holds: a new field without an entry fails there."""
    known = {entry.msgid for entry in polib.pofile(str(CATALOGUE)) if entry.translated()}
    said = set(words.names())
    assert {"schema failure", "tenants", "Retry", "Owner's e-mail address", "Tokens and cost"} <= said
    assert said - known == set()


@pytest.mark.exhaustive
def test_no_page_says_anything_in_english(db: Platform, console: Console) -> None:
    """Every list, every page to add something, and the pages that ask before something is done."""
    entry(db.acme)
    paths = [f"/admin/{model._meta.label_lower.replace('.', '/')}" for model in admin.site._registry]
    with scope.platform(), override(get_language()):  # which a request in this thread changes for good
        person = User.objects.get(email="owner@acme.test").pk
        paths += [f"/admin/tenants/{name}/add" for name in ("tenant", "plan", "notice", "platformprovider")]
        paths += [f"/admin/usage/{act}" for act in ("usagerecord/correct", "price/set", "margin/set", "invoice/draft")]
        paths += [f"/admin/tenants/tenant/{db.acme.id}{page}" for page in ("/change", "/suspend", "/delete-with-grace")]
        paths += [f"/admin/accounts/user/{person}{page}" for page in ("/change", "/act-as", "/reset-factors")]
        paths += [f"/admin/tenants/tenantschema/{db.acme.id}/migrate", "/admin/tenants/tenantschema/look-again"]
        paths += ["/admin/tenants/limit/set", "/admin/tenants/plan/pro/change", "/admin/proof"]
        console.client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-CN"
        english = {}
        for path in paths:
            answer = console.get(path)
            assert answer.status_code == 200, path
            page = IDS.sub("", answer.content.decode())
            if found := english_in(page[page.find("<body") :], KNOWN):
                english[path] = found
    assert english == {}, english
