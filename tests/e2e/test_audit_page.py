"""The audit log's page, and what an operator sees who acts as somebody, in a real browser."""

from __future__ import annotations

from typing import Any

from accounts import audit, audit_chain
from tenants import scope
from tests.accounts.test_impersonation import ask, code_of, operator  # noqa: F401 - a fixture
from tests.conftest import Platform, in_thread


def fill(db: Platform) -> None:
    with scope.bind(db.acme):
        for role in ("viewer", "member", "admin"):
            audit.record("member.set", actor="command:apply", target="x", email=f"{role}-of-old@acme.test", role=role)
        audit.record("api_key.created", actor="command:apply", target="k", name="Build server", scopes=["chat:read"])
        audit.record("session.refused", actor=audit.NOBODY, email="somebody@acme.test")
        audit.record("something.new", actor="job:nightly")
    with scope.platform():
        audit_chain.check_all(newest=False)


async def test_the_log(db: Platform, visit: Any) -> None:
    in_thread(lambda: fill(db))
    visitor = await visit("admin")
    page = visitor.page
    for scheme, width in (("light", 1280), ("dark", 390)):
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto(f"{visitor.url}/settings/audit/")
        await page.locator("summary").nth(2).click()
        assert await visitor.at("chain").inner_text() != ""
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out"
        await visitor.shot(f"audit-{scheme}-{width}")
    await page.select_option("select[name=action]", "api_key.")
    await page.get_by_role("button", name="Show").click()
    assert await page.locator(".audit > li").count() == 1
    async with page.expect_download() as download:
        await visitor.at("export-csv").click()
    assert (await download.value).suggested_filename.endswith(".csv")


async def test_acting(db: Platform, visit: Any, operator: Any) -> None:
    visitor = await visit()
    page = visitor.page
    await page.goto(f"{visitor.url}/impersonate/?code={code_of(ask(operator))}")
    await visitor.at("composer").wait_for()
    for scheme, width in (("light", 1280), ("dark", 390)):
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 800})
        for path in ("/chat/", "/settings/audit/"):
            await page.goto(f"{visitor.url}{path}")
            assert "owner@acme.test" in await visitor.at("acting").inner_text()
            if path == "/chat/":
                await visitor.at("composer").wait_for()
                box = await visitor.at("composer").bounding_box()
                assert box["y"] + box["height"] <= 800, "the chat ends where the window ends"
            await visitor.shot(f"acting-{path.strip('/').replace('/', '-')}-{width}")
    await visitor.at("end-acting").click()
    await page.wait_for_url(f"{visitor.url}/login/")
    assert await visitor.at("acting").count() == 0
