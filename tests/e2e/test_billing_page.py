"""Usage and bills in a real browser: both widths, both schemes, a download, and what the printer gets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.conftest import Platform, in_thread
from tests.usage.test_billing_pages import furnished


async def test_usage_and_bills(db: Platform, visit: Any, tmp_path: Path) -> None:
    number = in_thread(lambda: furnished(db))
    visitor = await visit("admin")
    page = visitor.page
    for scheme, width in (("dark", 390), ("light", 1280)):
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 900})
        for address, name in (("/settings/billing/", "billing"), (f"/settings/billing/invoices/{number}/", "invoice")):
            await page.goto(visitor.url + address)
            assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
                "nothing sticks out"
            )
            await visitor.shot(f"{name}-{scheme}-{width}")
    assert await page.get_by_role("button", name="Print").is_visible()
    assert await visitor.at("total").inner_text() == "1.50 USD"
    await page.emulate_media(media="print", color_scheme="dark")
    assert not await page.locator(".side").is_visible()
    assert not await page.get_by_role("button", name="Print").is_visible()
    paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)", "nobody prints a dark page"
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    await page.pdf(path=folder / "invoice.pdf", prefer_css_page_size=True)
    assert (folder / "invoice.pdf").read_bytes().startswith(b"%PDF")
    await visitor.shot("invoice-print")
    await page.emulate_media(media="screen")
    await page.goto(f"{visitor.url}/settings/billing/")
    async with page.expect_download() as download:
        await visitor.at("csv").click()
    assert (await (await download.value).path()).read_bytes().startswith("\ufeffday,".encode())
    await visitor.at("invoices").get_by_role("link", name=number).click()
    await visitor.at("invoice").wait_for()
