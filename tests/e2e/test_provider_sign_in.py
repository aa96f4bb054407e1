"""Connecting a sign-in provider, and signing in with it, in a real browser: the pages' policy lets it through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

from accounts.models import IdentityProvider
from tenants import scope
from tests.accounts.idp import Idp
from tests.conftest import PASSWORD, Platform, in_thread

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


async def test_set_up_connect_and_sign_in(
    visit: Callable[..., Any], site: Any, db: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "PUBLIC_PORT", str(site.port))
    monkeypatch.setattr(settings, "EGRESS_ALLOW", ["127.0.0.1"])
    with Idp() as idp:
        visitor = await visit("admin")
        page = visitor.page
        await page.route("https://cdn.jsdelivr.net/**", lambda route: route.fulfill(body=""))  # the provider's own page
        await page.goto(f"{visitor.url}/settings/sign-in/")
        await visitor.at("add-provider").click()
        await page.get_by_label("Name").fill("Acme SSO")
        await page.get_by_label("Issuer").fill(idp.issuer)
        await page.get_by_label("Client id").fill("acme")
        await page.get_by_label("Client secret").fill("s3cret")
        await visitor.shot("provider-form")
        await visitor.at("save-provider").click()
        await visitor.at("test-provider").click()
        await page.get_by_text("The provider answers as it should").wait_for()
        await page.goto(f"{visitor.url}/settings/sign-in/")
        await visitor.shot("providers")
        await page.goto(f"{visitor.url}/profile/")
        await page.locator("nav a[href='/profile/identities/']").click()
        await page.get_by_label("Your password").fill(PASSWORD)
        await visitor.shot("identities")
        await page.get_by_role("button", name="Connect Acme SSO").click()
        await page.wait_for_url(f"{idp.issuer}/**")
        await page.locator("input[name=sub]").fill("admin-there")
        await page.locator("input[name=sub]").press("Enter")
        await page.wait_for_url(f"{visitor.url}/profile/identities/")
        await visitor.at("identity").wait_for()
        await visitor.at("sign-out").click()
        await visitor.shot("sign-in")
        await visitor.at("provider").click()
        await page.wait_for_url(f"{idp.issuer}/**")
        await page.get_by_role("button", name="Deny").click()
        await visitor.at("refused").wait_for()
        await visitor.shot("refused")
        await page.goto(f"{visitor.url}/login/")
        await visitor.at("provider").click()
        await page.wait_for_url(f"{idp.issuer}/**")
        await page.locator("input[name=sub]").fill("admin-there")
        await page.locator("input[name=sub]").press("Enter")
        await page.wait_for_url(f"{visitor.url}/chat/")

    def count() -> int:
        with scope.bind(db.acme):
            return IdentityProvider.objects.count()

    assert in_thread(count) == 1
