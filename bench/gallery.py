"""Pictures of the portal's pages for the documents: `make screenshots` fills docs/screenshots/.

Starts an installation of its own in a temporary folder, fills its demo workspace (bench/showcase.py), opens each page
in Debian's chromium (or the one that CHROMIUM names), and ends everything. The pictures have 128 colours, so that all
of them together are small enough to be kept with the sources.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Page, async_playwright

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
    "security": "/profile/security/", "memory": "/settings/memory/",
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
    Look("-phone-zh", 390, "zh-CN", "dark", ("dashboard", "conversations", "agents", "keys")),
)


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
    total = 0
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for look in LOOKS:
            options: dict[str, Any] = {"locale": look.locale, "color_scheme": look.scheme}
            context = await browser.new_context(viewport={"width": look.width, "height": 800}, **options)
            page = await context.new_page()
            origin = f"http://{TENANT}.localhost:{port}"
            await _sign_in(page, origin, password)
            for name in look.pages or PAGES:
                await page.goto(origin + PAGES[name])
                picture = small(await page.screenshot(full_page=True))
                (place / f"{name}{look.suffix}.png").write_bytes(picture)
                total += len(picture)
            await context.close()
        await browser.close()
    return total


async def _sign_in(page: Page, origin: str, password: str) -> None:
    await page.goto(f"{origin}/login/")
    await page.fill("input[name=email]", EMAIL)
    await page.fill("input[name=password]", password)
    await page.get_by_test_id("sign-in").click()
    await page.wait_for_url(f"{origin}/chat/**")


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
    print(f"{PLACE.relative_to(ROOT)}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
