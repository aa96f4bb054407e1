"""Every page of the portal, found by its links: few queries, and in Chinese no sentence that nobody translated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from unittest.mock import patch

import pytest
from django.db.backends.utils import CursorWrapper
from django.urls import resolve

from bench import showcase
from bench.portal_pages import every_page
from tests.conftest import Platform, in_thread
from tests.contracts.access import TENANT

# A host that is looked up anew (every two seconds) is not the page's.
MOST_QUERIES = 12
# Pages to which no link of the portal leads: a letter's, an operator's, one of the sign-in, or of what is not there now.
NOT_LINKED = {
    "/chat/",
    "/chat/<uuid:conversation_id>/",
    "/profile/email/<str:code>/",
    "/profile/security/app/",
    "/settings/approvals/<uuid:approval_id>/",
    "/settings/billing/invoices/<str:number>/",
    "/settings/agents/<str:slug>/export/",
    "/settings/conversations/<uuid:conversation_id>/export/",
    "/knowledge/<str:slug>/documents/<uuid:document_id>/file/",
    "/knowledge/<str:slug>/documents/<uuid:document_id>/picture/",
    "/settings/mcp-servers/callback/",
    "/settings/mcp/<uuid:server_id>/",
    "/settings/sign-in/<uuid:provider_id>/",
}
NOT_THE_PAGES = re.compile(r"set_config|FROM \"tenants_tenant\" INNER JOIN \"tenants_plan\"")
SILENT = {"script", "style", "code", "pre", "textarea"}
SPOKEN = {"aria-label", "title", "placeholder", "alt"}
SENTENCE = re.compile(r"[A-Za-z][a-z]+(?:[ ’'-][A-Za-z’']+){2,}")
# Names that are the same in every language.
ALLOWED = {"Port-au-Prince"}


class Words(HTMLParser):
    """What a page says: its text, and what its attributes say."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in SILENT
        self.found += [value for name, value in attrs if name in SPOKEN and value]

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in SILENT

    def handle_data(self, data: str) -> None:
        if not self._silent and data.strip():
            self.found.append(" ".join(data.split()))


def english_in(page: str, known: set[str]) -> list[str]:
    """The English sentences of a page, but for what is known to be somebody's own words."""
    words = Words()
    words.feed(page)
    found = []
    for text in words.found:
        rest = text
        for own in known:
            rest = rest.replace(own, "")
        found += SENTENCE.findall(rest)
    return found


def route_of(address: str) -> str:
    """As the declarations of routes write it."""
    return "/" + resolve(address.partition("?")[0], urlconf="paas.urls_tenant").route


@pytest.fixture
def counted() -> Iterator[list[str]]:
    """The statements that Django sends, of whatever thread."""
    sent: list[str] = []
    run = CursorWrapper.execute

    def execute(self: Any, sql: Any, params: Any = None) -> Any:
        if not NOT_THE_PAGES.search(str(sql)):
            sent.append(str(sql))
        return run(self, sql, params)

    with patch.object(CursorWrapper, "execute", execute):
        yield sent


async def test_every_page_asks_little_and_speaks_chinese(site: Any, db: Platform, counted: list[str]) -> None:
    in_thread(lambda: showcase.fill(days=2))
    owner = await site.signed_in("owner")
    known = showcase.words() | ALLOWED
    queries: dict[str, int] = {}
    english: dict[str, list[str]] = {}

    async def get(address: str) -> str:
        page = ""
        for _again in range(2):  # what is remembered for some seconds may just have been forgotten
            counted.clear()
            async with owner.get(address, headers={"Accept-Language": "zh-CN"}) as answer:
                page = await answer.text()
                assert answer.status == 200, (address, answer.status)
            queries[address] = min(queries.get(address, len(counted)), len(counted))
            if queries[address] <= MOST_QUERIES:
                break
        if found := english_in(page, known):
            english[address] = found
        return page

    pages = {route_of(address): address for address in await every_page(get)}
    declared = {route for route, access in TENANT.items() if access.kind == "page" and "GET" in access.needs}
    assert declared - set(pages) == NOT_LINKED
    assert english == {}
    assert {address: count for address, count in queries.items() if count > MOST_QUERIES} == {}
