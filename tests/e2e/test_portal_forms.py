"""Forms of the portal: mistakes are said before anything is sent, once is enough, and nothing that was typed is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accounts.models import Session
from tenants import scope
from tests.conftest import PASSWORD, in_thread


def sign_everybody_out() -> None:
    with scope.platform():
        Session.objects.all().delete()


async def test_a_key_by_way_of_every_mishap(visit: Callable[..., Any]) -> None:
    owner = await visit("owner")
    page = owner.page
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    await page.goto(f"{owner.url}/settings/keys/new/")

    # What is wrong is said beside its field, which has the focus, and nothing is sent.
    await page.fill("[name=tokens_per_month]", "0")
    await owner.at("save").click()
    assert await page.evaluate("document.activeElement.name") == "name"
    assert await page.locator(".field-error").count() == 2
    await page.fill("[name=name]", "Website")
    assert await page.locator(".field-error").count() == 1
    await page.fill("[name=tokens_per_month]", "5000")
    assert (await page.locator(".field-error").count(), sent) == (0, [])

    # Without a connection nothing is sent either, and the page says why.
    await page.context.set_offline(True)
    await page.locator("[data-offline]").wait_for()
    await owner.at("save").click()
    assert sent == []
    await page.context.set_offline(False)
    await page.locator("[data-offline]").wait_for(state="hidden")

    # The session has ended meanwhile: after signing in again the form is as it was left.
    in_thread(sign_everybody_out)
    await owner.at("save").click()
    await page.wait_for_url("**/login/**")
    await page.fill("[name=email]", "owner@acme.test")
    await page.fill("[name=password]", PASSWORD)
    await owner.at("sign-in").click()
    await page.wait_for_url("**/settings/keys/new/")
    await page.locator("[data-restored]").wait_for()
    assert await page.input_value("[name=name]") == "Website"
    assert await page.input_value("[name=tokens_per_month]") == "5000"

    # Pressed twice, it is made once; the token is shown, with examples that ask the agent.
    sent.clear()
    await page.evaluate(
        "() => { const save = document.querySelector('[data-testid=save]'); save.click(); save.click(); }"
    )
    await owner.at("token").wait_for()
    assert len(sent) == 1
    token = await owner.at("token").inner_text()
    assert await owner.at("snippet").count() == 4
    await page.locator("#python-label").click()
    assert token in await page.locator("#python").inner_text()
    await owner.shot("key-made")
    await page.goto(f"{owner.url}/settings/keys/")
    assert token not in await page.content()


async def test_the_side_bar_on_a_phone(visit: Callable[..., Any]) -> None:
    owner = await visit("owner", viewport={"width": 390, "height": 800})
    page = owner.page
    await page.goto(f"{owner.url}/settings/agents/")
    entry = page.get_by_role("link", name="API keys")
    assert not await entry.is_visible()
    await page.get_by_role("button", name="Menu").press("Enter")
    assert await page.get_by_role("button", name="Menu").get_attribute("aria-expanded") == "true"
    assert await page.get_by_role("link", name="Agents", exact=True).get_attribute("aria-current") == "page"
    await entry.click()
    await page.wait_for_url("**/settings/keys/")
    assert not await entry.is_visible(), "a page begins with its content"
