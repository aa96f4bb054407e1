"""An administrator makes a base, drops files on it, sees them become searchable, asks, and opens the passage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import expect

from knowledge import uploads
from tests.files import no_files  # noqa: F401 - a fixture
from tests.knowledge.conftest import ingested

Visit = Callable[..., Any]
GUIDE = "# Holidays\n\nThirty days a year.\n\n# Parking\n\nThe code of the gate is 4711.\n" + "More of it.\n\n" * 200
DROP = """name => {
  const all = new DataTransfer();
  all.items.add(new File(['The canteen opens at noon.'], name, {type: 'text/plain'}));
  return all;
}"""


async def choose(page: Any, file: dict[str, Any]) -> None:
    """As a person does, who sees the field once the page's script listens to it."""
    await expect(page.locator("label[for=files]")).to_be_visible()
    await page.set_input_files("#files", file)


async def test_from_files_to_a_cited_passage(
    visit: Visit, actor: Any, no_files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PIECE_BYTES", 1000)
    admin = await visit("admin")
    page = admin.page
    cut = True

    async def broken(route: Any) -> None:
        ended = cut and route.request.method == "PATCH" and route.request.headers["upload-offset"] != "0"
        await (route.abort() if ended else route.continue_())

    # From before the page is opened, to the end: chromium lets requests through while interception comes and goes.
    await page.route("**/uploads/*", broken)
    await page.goto(f"{admin.url}/settings/knowledge/")
    await admin.at("new-base").click()
    await page.fill("[name=name]", "House rules")
    await expect(page.locator("[name=slug]")).to_have_value("house-rules")
    await admin.at("make-base").click()

    # The connection breaks behind the first piece, and the page is left: the same file goes on where it stopped.
    guide = {"name": "guide.md", "mimeType": "text/plain", "buffer": GUIDE.encode()}

    page.on("dialog", lambda dialog: dialog.accept())
    await choose(page, guide)
    await expect(admin.at("upload")).to_contain_text("cannot be reached")
    await page.reload()
    await expect(admin.at("unfinished")).to_contain_text("guide.md")
    cut = False
    async with page.expect_request(lambda one: one.method == "PATCH") as first:
        await choose(page, guide)
    assert (await first.value).headers["upload-offset"] == "1000"
    await admin.at("drop").dispatch_event("drop", {"dataTransfer": await page.evaluate_handle(DROP, "canteen.txt")})
    await expect(admin.at("drop")).to_contain_text("All files have arrived.")
    await ingested(actor("owner"))
    await expect(admin.at("uploads").get_by_text("Searchable", exact=True)).to_have_count(2)
    await admin.shot("knowledge-uploads")
    await choose(page, {"name": "a.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n"})
    await expect(admin.at("uploads").get_by_text("Failed", exact=True)).to_be_visible()

    await page.get_by_role("link", name="Try a question").click()
    await page.fill("[name=query]", "What is the code of the gate?")
    await admin.at("ask").click()
    await expect(admin.at("found-passage").first).to_contain_text("4711")
    await admin.shot("knowledge-try")
    await admin.at("found-passage").first.get_by_role("link").first.click()
    await expect(admin.at("cited")).to_contain_text("4711")
    await expect(admin.at("cited")).to_be_in_viewport()
    await admin.shot("knowledge-reader")
