"""The workspace's settings and its branding in a browser: on the page, at the door and in the chat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from accounts import branding, tenant_life
from tenants import scope
from tenants.models import Tenant
from tests.conftest import Platform, in_thread


@pytest.fixture
def plain(db: Platform) -> Iterator[None]:
    yield

    def undo() -> None:
        with scope.platform():
            tenant = Tenant.objects.get(slug="acme")
        tenant_life.tenant_update(tenant=tenant, actor="test", name="Acme", color="")
        branding.logo_remove(tenant=tenant.ref(), actor="test")

    in_thread(undo)


async def accent(visitor: Any) -> str:
    color = await visitor.page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--accent')")
    return str(color).strip()


@pytest.mark.parametrize(("width", "locale", "scheme"), [(1280, "en-US", "light"), (390, "zh-CN", "dark")])
async def test_an_owner_gives_it_a_face(
    visit: Callable[..., Any], plain: None, tmp_path: Path, width: int, locale: str, scheme: str
) -> None:
    picture = tmp_path / "logo.png"
    Image.new("RGB", (300, 200), "#7a1fa2").save(picture)
    size = {"width": width, "height": 800}
    owner = await visit("owner", viewport=size, locale=locale, color_scheme=scheme)
    await owner.page.goto(f"{owner.url}/settings/workspace/")
    before = await accent(owner)
    await owner.page.check("input[name=own_color]")
    await owner.page.fill("input[name=color]", "#7a1fa2")
    await owner.at("save-look").click()
    await owner.page.get_by_role("status").first.wait_for()
    assert (after := await accent(owner)) != before
    await owner.page.set_input_files("input[type=file]", picture)
    await owner.at("save-logo").click()
    await owner.at("remove-logo").wait_for()
    await owner.page.wait_for_function("document.querySelector('img.mark').naturalWidth === 256")
    assert await owner.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    await owner.shot(f"workspace-{width}")
    await owner.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    await owner.shot(f"workspace-{width}-end")
    await owner.page.goto(f"{owner.url}/chat/")
    await owner.at("composer").wait_for()
    assert await accent(owner) == after
    await owner.shot(f"workspace-{width}-chat")
    stranger = await visit(viewport=size, locale=locale, color_scheme=scheme)
    await stranger.page.goto(f"{stranger.url}/login/")
    assert await accent(stranger) == after
    await stranger.page.wait_for_function("document.querySelector('img.mark').naturalWidth === 256")
    await stranger.shot(f"workspace-{width}-door")
