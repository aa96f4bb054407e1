"""Pictures of pages (portal, chat, console) for the documents: `make screenshots` fills docs/screenshots/.

Starts an installation of its own in a temporary folder, fills its demo workspace (bench/showcase.py), opens each page
(also those that are not named here, found by links) in Debian's chromium (or the one that CHROMIUM names), and ends
everything. The pictures have 128 colours, so that all of them together are small enough to be kept with the sources.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from playwright.async_api import Page, async_playwright

from bench.portal_pages import every_page, kind_of
from bench.processes import BENCH_DIR, ROOT, Process, environment, free_port
from bench.start import EMAIL, READY_WITHIN_S, TENANT, demo_password, serves

PLACE = ROOT / "docs" / "screenshots"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
COLORS = 128
TALLEST = 1600  # pixels; what is longer is cut
PAGES = {
    "dashboard": "/settings/", "conversations": "/settings/conversations/", "approvals": "/settings/approvals/",
    "schedules": "/settings/schedules/", "agents": "/settings/agents/", "new-agent": "/settings/new-agent/",
    "agent": "/settings/agents/support/", "versions": "/settings/agents/support/versions/",
    "tools": "/settings/tools/", "mcp": "/settings/mcp/new/", "providers": "/settings/providers/new/",
    "members": "/settings/members/", "sign-in": "/settings/sign-in/", "billing": "/settings/billing/",
    "limits": "/settings/limits/", "keys": "/settings/keys/", "new-key": "/settings/keys/new/",
    "audit": "/settings/audit/", "workspace": "/settings/workspace/", "profile": "/profile/",
    "security": "/profile/security/", "memory": "/settings/memory/", "knowledge": "/settings/knowledge/",
    "knowledge-base": "/settings/knowledge/handbook/", "knowledge-try": "/settings/knowledge/handbook/try/",
    "knowledge-settings": "/settings/knowledge/handbook/settings/", "chat": "/chat/",
}  # fmt: skip
# On the platform's host, for whoever comes.
FRONT = {"sign-up": "/signup/", "login": "/accounts/login/", "forgotten-password": "/accounts/forgot/"}
# Of the operator's there. ACME is the demo tenant's page.
ACME = "/admin/tenants/tenant/"
CONSOLE = {
    "console": "/admin/", "console-tenant": ACME, "console-jobs": "/admin/procrastinate/procrastinatejob/",
    "console-schemas": "/admin/tenants/tenantschema/", "console-notices": "/admin/tenants/notice/",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """How pages are seen. suffix: of the files' names; pages: which, all when empty."""

    suffix: str
    width: int
    locale: str
    scheme: str
    pages: tuple[str, ...] = ()


LOOKS = (
    Look("", 1280, "en-US", "light"),
    Look("-dark", 1280, "en-US", "dark", ("dashboard", "agent")),
    Look("-phone-zh", 390, "zh-CN", "dark", ("dashboard", "conversations", "agents", "keys", "knowledge-base")),
)


def index(names: list[str]) -> str:
    """The pictures on one page."""
    shown = "\n\n".join(f"## {name}\n\n![{name}]({name}.png)" for name in names)
    return f"# Pictures of the pages\n\nTaken by `make screenshots`, of the demo workspace.\n\n{shown}\n"


def small(picture: bytes) -> bytes:
    """A PNG of few colours, cut where it is too tall."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, TALLEST)))
    out = io.BytesIO()
    image.quantize(COLORS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


async def photograph(port: int, password: str, place: Path) -> int:
    """Write the pictures; how many bytes they have together."""
    place.mkdir(parents=True, exist_ok=True)
    for former in place.glob("*.png"):
        former.unlink()
    (operator,) = yaml.safe_load((ROOT / "launch" / "demo.yaml").read_text())["operators"]
    total = 0
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for look in LOOKS:
            options: dict[str, Any] = {"locale": look.locale, "color_scheme": look.scheme}
            context = await browser.new_context(viewport={"width": look.width, "height": 800}, **options)
            page = await context.new_page()
            origin = f"http://{TENANT}.localhost:{port}"
            await _sign_in(page, f"{origin}/login/", EMAIL, password, f"{origin}/chat/**")
            pages = {name: PAGES[name] for name in look.pages} or PAGES | await _others(page, origin)
            for name, path in pages.items():
                await page.goto(origin + path)
                if name == "chat":
                    await page.get_by_test_id("conversation-item").first.click()
                    await page.get_by_test_id("message-assistant").first.wait_for()
                total += await _kept(page, place / f"{name}{look.suffix}.png")
            await context.close()
        for suffix, locale in (("", "en-US"), ("-zh", "zh-CN")):
            context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale=locale)
            page = await context.new_page()
            origin = f"http://localhost:{port}"
            for name, path in FRONT.items():
                await page.goto(origin + path)
                total += await _kept(page, place / f"{name}{suffix}.png")
            await _sign_in(page, f"{origin}/admin/", operator["email"], operator["password"], f"{origin}/admin/")
            for name, path in (CONSOLE if suffix else CONSOLE | await _lists(page)).items():
                await page.goto(origin + path)
                if path == ACME:
                    await page.locator("#result_list").get_by_role("link", name=TENANT, exact=True).click()
                    await page.get_by_test_id("about").wait_for()
                total += await _kept(page, place / f"{name}{suffix}.png")
            await context.close()
        await browser.close()
    return total


async def _others(page: Page, origin: str) -> dict[str, str]:
    """The pages of the portal that PAGES does not name, by names made of their addresses."""

    async def get(address: str) -> str:
        await page.goto(origin + address)
        return await page.content()

    found = {kind_of(address): address for address in await every_page(get)}
    for path in PAGES.values():
        found.pop(kind_of(path), None)
    names = {kind: kind.removeprefix("/settings").strip("/").replace("/", "-") for kind in found}
    return {re.sub("[<>]", "", names[kind]): path for kind, path in found.items()}


async def _lists(page: Page) -> dict[str, str]:
    """The console's pages that its menu has and CONSOLE does not name, and the chooser."""
    links = page.locator("#nav-sidebar a[href^='/admin/'], nav a[href^='/admin/']")
    paths = set(await links.evaluate_all("all => all.map(one => one.getAttribute('href'))"))
    others = sorted(paths - set(CONSOLE.values()) - {"/admin/logout/"})
    found = {"console-" + path.removeprefix("/admin/").strip("/").replace("/", "-"): path for path in others}
    return found | {"workspaces": "/workspaces/"}


async def _kept(page: Page, path: Path) -> int:
    picture = small(await page.screenshot(full_page=True))
    path.write_bytes(picture)
    return len(picture)


async def _sign_in(page: Page, address: str, email: str, password: str, leads: str) -> None:
    await page.goto(address)
    await page.fill("input[name=email]", email)
    await page.fill("input[name=password]", password)
    await page.get_by_test_id("sign-in").click()
    await page.wait_for_url(leads)


def main() -> None:
    password, port = demo_password(ROOT), free_port()
    with tempfile.TemporaryDirectory(prefix="paas-gallery-") as place:
        env = environment(VAR_DIR=f"{place}/var", PORT=str(port))
        process = Process([sys.executable, "-m", "launch", "run"], env, BENCH_DIR / "log" / "gallery.log")
        try:
            process.wait_ready(lambda: serves(port), READY_WITHIN_S)
            fill = [sys.executable, "manage.py", "shell", "-c", "from bench.showcase import fill; fill()"]
            subprocess.run(fill, env=env, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            size = asyncio.run(photograph(port, password, PLACE))
        finally:
            process.interrupt()
    (PLACE / "README.md").write_text(index(sorted(path.stem for path in PLACE.glob("*.png"))))
    print(f"{PLACE.relative_to(ROOT)}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
