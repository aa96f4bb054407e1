"""Signing in, the way over from the platform, and the profile, in a browser: on a phone, in both languages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.async_api import Browser, Page

from tests.accounts.visitors import person, put_back
from tests.conftest import PASSWORD
from tests.site import Site

MEMBER = "member@acme.test"
PHONE = {"width": 360, "height": 740}


@pytest.fixture
def on_port(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PUBLIC_PORT", str(site.port))


async def shot(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def fits(page: Page) -> None:
    """Nothing sticks out to the right."""
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, page.url


async def fill(page: Page, email: str, password: str = PASSWORD) -> None:
    await page.fill("input[name=email]", email)
    await page.fill("input[name=password]", password)
    await page.get_by_test_id("sign-in").click()


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_over_the_platform_into_a_workspace(site: Site, browser: Browser, on_port: None, language: str) -> None:
    """The policy of the sign-in page (`form-action 'self'`) is in force: the way to another host is no redirect."""
    context = await browser.new_context(locale=language, viewport=PHONE)
    page = await context.new_page()
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    await page.goto(site.url("acme") + "/login/")
    await fits(page)
    await shot(page, f"login-{language}")
    await page.get_by_test_id("by-platform").click()
    await page.wait_for_url(f"{site.url()}/accounts/login/**")
    await fits(page)
    await fill(page, MEMBER)
    await page.wait_for_url(f"{site.url('acme')}/chat/")
    await page.goto(site.url() + "/workspaces/")
    await fits(page)
    await shot(page, f"workspaces-{language}")
    await context.clear_cookies(domain="acme.localhost")
    await page.get_by_test_id("workspaces").get_by_role("link").click()
    await page.wait_for_url(f"{site.url('acme')}/chat/")
    assert [fault for fault in faults if "Content Security Policy" in fault] == []
    await context.close()


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_a_profile_by_keyboard(site: Site, browser: Browser, db: Any, language: str) -> None:
    context = await browser.new_context(locale=language, viewport=PHONE)
    page = await context.new_page()
    await page.goto(site.url("acme") + "/login/?next=/profile/")
    await page.wait_for_function("document.activeElement.name === 'email'")  # the first field has the focus
    await page.keyboard.type(MEMBER)
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{site.url('acme')}/profile/")
    await fits(page)
    await shot(page, f"profile-{language}")
    found = person(MEMBER)
    try:
        await page.fill("input[name=person-name]", "Mei")
        await page.keyboard.press("Enter")
        await page.get_by_role("status").wait_for()
        assert person(MEMBER).name == "Mei"
        await page.fill("input[name=password-current]", "wrong")
        await page.fill("input[name=password-new]", "a-new-and-long-password")
        await page.keyboard.press("Enter")
        await page.get_by_role("alert").wait_for()
        await fits(page)
        await page.get_by_test_id("sign-out-everywhere").click()
        await page.wait_for_url(f"{site.url('acme')}/login/")
        await page.get_by_role("status").wait_for()
        await shot(page, f"signed-out-{language}")
    finally:
        put_back(MEMBER, found.pk)
    await page.goto(site.url("acme") + "/login/forgot/")
    await fits(page)
    await page.fill("input[name=email]", MEMBER)
    await page.get_by_test_id("ask-link").click()
    await page.get_by_role("heading").wait_for()
    await fits(page)
    await shot(page, f"forgotten-{language}")
    await context.close()
