"""Passkeys in a real browser, with an authenticator that the browser plays itself (A16)."""

from __future__ import annotations

from typing import Any

from accounts import second_factor
from tests.accounts.test_second_factor import person
from tests.conftest import PASSWORD, in_thread


async def authenticator(page: Any) -> tuple[Any, str]:
    """A device with a fingerprint that fits, plugged into this page's browser: (session, id)."""
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    added = await session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session, added["authenticatorId"]


async def sign_in(visitor: Any) -> None:
    page = visitor.page
    await page.goto(f"{visitor.url}/login/")
    await page.fill("input[name=email]", "member@acme.test")
    await page.fill("input[name=password]", PASSWORD)
    await visitor.at("sign-in").click()
    await page.wait_for_url(f"{visitor.url}/login/code/")


async def test_a_passkey_from_first_to_last(visit: Any) -> None:
    visitor = await visit("member")
    page = visitor.page
    session, device = await authenticator(page)
    await page.goto(f"{visitor.url}/profile/security/")
    await page.fill("input[name=name]", "My laptop")
    await page.fill("#proof-passkey", "not the password")
    await visitor.at("passkey-add").click()
    await page.get_by_text("This is not your password").wait_for()
    await page.fill("#proof-passkey", PASSWORD)
    await visitor.at("passkey-add").click()
    await visitor.at("recovery-codes").wait_for()
    assert await page.locator(".recovery li").count() == 10
    await visitor.shot("recovery-codes")
    for scheme, width in (("light", 1280), ("dark", 390)):
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto(f"{visitor.url}/profile/security/")
        assert "My laptop" in await visitor.at("passkey").inner_text()
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out"
        await visitor.shot(f"security-{scheme}-{width}")

    # Signed out, the password leads to the second step, and the passkey through it.
    await visitor.open_menu()
    await page.get_by_test_id("sign-out").click()
    await page.wait_for_url(f"{visitor.url}/login/")
    await sign_in(visitor)
    await visitor.shot("second-step")
    await visitor.at("show-passkey").click()
    await visitor.at("composer").wait_for()

    # Another device has no such key.
    await session.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": device})
    await authenticator(page)
    await page.context.clear_cookies()
    await sign_in(visitor)
    await visitor.at("show-passkey").click()
    await page.get_by_text("The passkey was not used").wait_for()
    assert page.url == f"{visitor.url}/login/code/"
    assert in_thread(lambda: second_factor.factors_of(person())).passkeys[0].last_used_at is not None


async def test_an_app_in_the_browser(visit: Any) -> None:
    visitor = await visit("member")
    page = visitor.page
    await page.goto(f"{visitor.url}/profile/security/")
    await page.fill("#proof-app", PASSWORD)
    await visitor.at("app-start").click()
    await visitor.at("secret").wait_for()
    box = await page.locator(".qr svg").bounding_box()
    assert box is not None
    assert box["width"] > 100
    await visitor.shot("app-set-up")
    await page.set_viewport_size({"width": 390, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out"
    await visitor.shot("app-set-up-390")
