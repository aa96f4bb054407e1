"""Every page of the portal in a browser, light and dark, wide and narrow: usable by everybody, and nothing sticks out.

axe-core looks for what people who cannot see well, or use no mouse, would stumble over (WCAG 2.2 A and AA).
`(cd tests/e2e && npm ci)` installs it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import showcase
from bench.portal_pages import every_page
from tests.conftest import Platform, in_thread

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LOOK = """rules => axe.run(document, {runOnly: rules, resultTypes: ["violations"]}).then(found =>
    found.violations.filter(one => ["serious", "critical"].includes(one.impact))
        .map(one => `${one.id}: ${one.nodes.slice(0, 3).map(node => node.html.slice(0, 120)).join(" | ")}`))"""
DOORS = ("/login/", "/login/forgot/", "/nowhere/")


async def faults_of(page: Any, address: str) -> list[str]:
    """What is wrong with the page that is open."""
    await page.evaluate(AXE.read_text())
    found: list[str] = await page.evaluate(LOOK, RULES)
    if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("something sticks out")
    return [f"{address}: {one}" for one in found]


@pytest.mark.timeout(400)  # forty pages, each looked through by axe
@pytest.mark.parametrize(("width", "locale", "scheme"), [(1280, "en-US", "light"), (390, "zh-CN", "dark")])
async def test_everybody_can_use_every_page(
    visit: Callable[..., Any], db: Platform, width: int, locale: str, scheme: str
) -> None:
    assert AXE.exists(), "run: (cd tests/e2e && npm ci)"
    in_thread(lambda: showcase.fill(days=8))
    size = {"width": width, "height": 800}
    owner = await visit("owner", viewport=size, locale=locale, color_scheme=scheme)
    faults: list[str] = []

    async def get(address: str) -> str:
        answer = await owner.page.goto(owner.url + address)
        assert answer.status == 200, address
        faults.extend(await faults_of(owner.page, address))
        content: str = await owner.page.content()
        return content

    pages = await every_page(get)
    assert len(pages) > 30
    stranger = await visit(viewport=size, locale=locale, color_scheme=scheme)
    for address in DOORS:
        await stranger.page.goto(stranger.url + address)
        faults += await faults_of(stranger.page, address)
    assert faults == []
