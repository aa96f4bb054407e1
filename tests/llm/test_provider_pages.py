"""The pages of model providers: from a vendor's key to a plain answer whether it works."""

from __future__ import annotations

from typing import Any

from bench.vendor import Vendor
from llm import breaker
from llm.models import ProviderAccount
from llm.selectors import provider_ref
from tenants import scope
from tests.accounts.test_people_pages import get, post
from tests.conftest import Platform, in_thread
from tests.contracts.provider import KEY
from tests.llm.test_provider_api import WRONG, stand_in
from tests.site import Site

__all__ = ["stand_in"]
PAGE = "/settings/providers/"


async def test_a_key_is_entered_tested_and_removed(site: Site, db: Platform, stand_in: Vendor) -> None:
    admin = await site.signed_in("admin")
    await get(admin, f"{PAGE}new/")
    asked: dict[str, Any] = {
        "kind": "anthropic",
        "name": "api-page",
        "base_url": stand_in.anthropic_url,
        "enabled": "on",
    }
    status, said = await post(admin, f"{PAGE}new/", **asked)
    assert (status, "Enter the Anthropic API key." in said) == (400, True)

    tried = asked | {"model": "bench-0-0-1", "test": "1"}
    status, one = await post(admin, f"{PAGE}new/", **tried, api_key=WRONG)
    assert (status, one) == (302, f"{PAGE}{in_thread(lambda: found(db)).id}/")
    assert "does not accept this API key" in (await get(admin, one))[1]
    await post(admin, one, **tried, api_key=KEY)
    said = (await get(admin, one))[1]
    assert "The key works: bench-0-0-1 answered" in said
    assert "A key is stored" in said
    assert KEY not in said
    assert "api-page" in (await get(admin, PAGE))[1]
    assert await post(admin, one, remove="1") == (302, PAGE)
    assert "The provider was removed." in (await get(admin, PAGE))[1]


def found(db: Platform, name: str = "api-page") -> ProviderAccount:
    with scope.bind(db.acme):
        return ProviderAccount.objects.get(name=name)


async def test_allowed_models_users_and_state(site: Site, db: Platform) -> None:
    admin = await site.signed_in("admin")
    await get(admin, PAGE)
    row = in_thread(lambda: found(db, "scripted"))
    place = f"{PAGE}{row.pk}/"
    said = (await get(admin, place))[1]
    assert ("/settings/agents/assistant/" in said, "None of its models is left alone" in said) == (True, True)
    for _ in range(breaker.FAULTS):
        breaker.breaker_for(provider_ref(row, "demo"), "demo").failed()
    assert "it failed several times in a row" in (await get(admin, place))[1]
    asked = {"kind": "openai_compatible", "name": "listed", "base_url": "https://api.example.com/v1", "enabled": "on"}
    _, made = await post(admin, f"{PAGE}new/", **asked, allowed_models="one\r\n\r\n two \r\none")
    assert in_thread(lambda: found(db, "listed")).allowed_models == ["one", "two"]
    said = (await get(admin, "/settings/new-agent/"))[1]
    assert ('<option value="two">' in said, '<option value="listed">' in said) == (True, True)
    assert await post(admin, made, remove="1") == (302, PAGE)
