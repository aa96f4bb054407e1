"""A real browser (Debian's chromium) on the real server; only the model is scripted."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.conftest import PASSWORD

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = os.environ.get("SCREENSHOTS")
expect.set_options(timeout=15_000)  # ms; five seconds are short for two busy cores, and who finds it waits for none


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        await running.close()


class Visitor:
    """A person at a browser window."""

    def __init__(self, page: Page, site: Any, slug: str) -> None:
        self.page = page
        self.site = site
        self.url = site.url(slug)
        self.faults: list[str] = []
        self.errors: list[str] = []  # of the console; that a request was refused is no fault of the page
        page.on("pageerror", lambda error: self.faults.append(error.message))
        page.on("requestfailed", self._refused)
        page.on("console", self._said)

    def _refused(self, request: Any) -> None:
        # A page that leads on by itself may leave its own icon behind; the way through the platform's host is such a page.
        if not request.url.startswith((self.url, self.site.url(""))):
            self.faults.append(f"went off-site: {request.url}")

    def _said(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    async def choose(self, slug: str) -> None:
        """Whom the next conversation is with."""
        await self.at("agent-select").click()
        await self.page.locator(f"[data-testid=agent-option][data-agent={slug}]").click()

    def at(self, name: str) -> Any:
        """The element with this data-testid."""
        return self.page.get_by_test_id(name)

    async def sign_in(self, name: str, slug: str = "acme") -> None:
        await self.page.goto(f"{self.url}/")
        await self.page.fill("input[name=email]", f"{name}@{slug}.test")
        await self.page.fill("input[name=password]", PASSWORD)
        await self.at("sign-in").click()
        await self.page.wait_for_url(f"{self.url}/chat/")
        await self.at("composer").wait_for()

    async def open_menu(self) -> None:
        """On a narrow page of the portal: show the side bar's entries."""
        menu = self.page.locator("button[data-menu]")
        if await menu.is_visible():
            await menu.click()

    async def ask(self, text: str) -> None:
        await self.at("composer").fill(text)
        await self.page.keyboard.press("Enter")

    async def shot(self, name: str) -> None:
        """A screenshot for people to look at, when SCREENSHOTS names a folder."""
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            await self.page.screenshot(path=Path(SHOTS) / f"{name}.png")


@pytest.fixture
async def visit(browser: Browser, site: Any) -> AsyncIterator[Callable[..., Any]]:
    """`await visit("owner")`: somebody signed in; `await visit()`: somebody at the door."""
    visitors: list[Visitor] = []

    async def open_window(name: str = "", slug: str = "acme", **options: Any) -> Visitor:
        context = await browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        context.set_default_timeout(15_000)
        visitor = Visitor(await context.new_page(), site, slug)
        visitors.append(visitor)
        if name:
            await visitor.sign_in(name, slug)
        return visitor

    yield open_window
    for visitor in visitors:
        assert visitor.faults == []
        await visitor.page.context.close()
