"""`/settings/workspace/` over HTTP: name, colour, logo, address, second factor, the end; and who sees what of it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from django.core.files.storage import default_storage
from PIL import Image
from yarl import URL

from accounts import branding, tenant_life
from accounts.models import AuditEvent
from portal import colours
from tenants import resolve, scope
from tenants.models import Plan, Tenant
from tests.conftest import Platform, in_thread
from tests.site import Site
from tests.tenants import life

PLACE = "/settings/workspace/"


@pytest.fixture
def workspace(db: Platform) -> Tenant:
    """The row of acme, which is as before when the test has ended."""

    def find() -> Tenant:
        with scope.platform():
            return Tenant.objects.get(pk=db.acme.id)

    found: Tenant = in_thread(find)
    return found


async def send(client: aiohttp.ClientSession, site: Site, what: str, **fields: Any) -> tuple[int, str]:
    """One of the page's forms, as a browser sends it."""
    token = client.cookie_jar.filter_cookies(URL(site.url("acme")))["csrftoken"].value
    form = aiohttp.FormData({"csrfmiddlewaretoken": token, "what": what})
    for name, value in fields.items():
        if isinstance(value, bytes):
            form.add_field(name, value, filename=f"../../{name}.svg", content_type="text/html")
        else:
            form.add_field(name, value)
    async with client.post(PLACE, data=form, allow_redirects=False) as answer:
        return answer.status, await answer.text()


def row(tenant: Tenant) -> Tenant:
    found: Tenant = in_thread(lambda: life.fresh(tenant))
    return found


def picture(size: tuple[int, int] = (600, 300), kind: str = "PNG", **options: Any) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", size, "#cc3300").save(made, kind, **options)
    return made.getvalue()


async def test_who_sees_the_page(site: Site, workspace: Tenant) -> None:
    for role, status in (("owner", 200), ("admin", 200), ("member", 403), ("viewer", 403)):
        client = await site.signed_in(role, "acme")
        async with client.get(PLACE) as answer:
            text = await answer.text()
        assert answer.status == status, role
        assert ('value="delete"' in text) is (role == "owner")
        assert (await send(client, site, "look", name="Stolen"))[0] == (403 if status == 403 else 302), role
        for what, fields in (("address", {"slug": "elsewhere"}), ("delete", {"confirm": "acme"})):
            if role != "owner":
                assert (await send(client, site, what, **fields))[0] == 403, role
    async with site.client("acme").get(PLACE, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, f"/login/?next={PLACE}")
    assert row(workspace).status == "active"


async def test_name_and_colour(site: Site, workspace: Tenant) -> None:
    client = await site.signed_in("admin", "acme")
    assert (await send(client, site, "look", name="Atelier <b>", own_color="on", color="#FFCC00"))[0] == 302
    found = row(workspace)
    assert (found.name, found.color) == ("Atelier <b>", "#ffcc00")
    visitor = site.client("acme")
    async with visitor.get("/login/") as answer:
        page = await answer.text()
    assert "Atelier &lt;b&gt;" in page
    link = re.search(r'href="(/branding\.css[^"]*)"', page)
    assert link, "the sign-in page has the workspace's colour"
    async with visitor.get(link[1]) as answer:
        assert answer.content_type == "text/css"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "private, max-age=60"
        style, etag = await answer.text(), answer.headers["ETag"]
    assert "--accent:" in style
    async with visitor.get(link[1], headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304
    for path in ("/chat/", PLACE):
        async with client.get(path) as answer:
            assert link[1] in await answer.text(), path
    assert (await send(client, site, "look", name="Atelier", color="#ffcc00"))[0] == 302
    assert row(workspace).color == "", "without the tick it is the platform's own"
    async with visitor.get("/branding.css") as answer:
        assert (answer.status, await answer.text()) == (200, "")

    def written() -> list[Any]:
        with scope.platform():
            rows = AuditEvent.objects.filter(tenant_id=workspace.id, action="tenant.updated").order_by("seq")
            return [(row.actor.split(":")[0], row.data["changed"]) for row in rows]

    assert in_thread(written)[0] == ("user", {"color": "#ffcc00", "name": "Atelier <b>"})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "x" * 121}, "at most 120"),
        ({"name": "A", "own_color": "on", "color": "red"}, "Write a colour as #rrggbb."),
        ({"name": "A", "own_color": "on", "color": "}*{x"}, "Write a colour as #rrggbb."),
        ({"name": "A", "own_color": "on"}, "Write a colour as #rrggbb."),
    ],
)
async def test_what_is_wrong_is_said_at_its_field(site: Site, workspace: Tenant, fields: Any, said: str) -> None:
    client = await site.signed_in("owner", "acme")
    status, text = await send(client, site, "look", **fields)
    assert status == 400
    assert said in text
    assert (row(workspace).name, row(workspace).color) == ("Acme", "")


async def test_a_form_that_is_none(site: Site, workspace: Tenant) -> None:
    client = await site.signed_in("owner", "acme")
    assert (await send(client, site, "nonsense"))[0] == 400
    async with client.post(PLACE, data={"what": "look", "name": "Forged"}) as answer:
        assert answer.status == 403, "no CSRF token"
    assert row(workspace).name == "Acme"


@pytest.mark.parametrize(
    "color", ["#000000", "#ffffff", "#ffcc00", "#0f6b62", "#7f7f7f", "#00ff00", "#0000ff", "#ff0000"]
)
def test_text_in_any_colour_can_be_read(color: str) -> None:
    """WCAG 2.2 AA: 4.5 to 1 on the surfaces of both themes, and of what stands on the colour."""
    for line, surface in zip(colours.sheet(color).splitlines(), ("light", "dark", "dark"), strict=True):
        values = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", line))
        accent = colours._parsed(values["accent"])
        ground = {"light": colours.LIGHT_SURFACE, "dark": colours.DARK_SURFACE}[surface]
        assert colours.contrast(accent, ground) >= 4.5
        assert colours.contrast(colours._parsed(values["on-accent"]), accent) >= 4.5
    assert colours.sheet("") == ""


# --- the logo ----------------------------------------------------------------------------------------


async def test_a_logo(site: Site, workspace: Tenant) -> None:
    """P17: re-encoded, in the tenant's own folder, served on its own host only, and not to be taken for a page."""
    client = await site.signed_in("admin", "acme")
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    for sent in (picture(), picture(kind="JPEG", exif=exif), picture(kind="WEBP")):
        assert (await send(client, site, "logo", logo=sent))[0] == 302
    name = row(workspace).logo
    assert name.startswith(f"{workspace.id}/logo-")
    assert name.endswith(".png")
    storage: Any = default_storage
    assert [path.name for path in (Path(storage.location) / str(workspace.id)).iterdir()] == [name.split("/")[1]]
    visitor = site.client("acme")
    async with visitor.get("/branding/logo") as answer:
        assert (answer.status, answer.content_type) == (200, "image/png")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        body = await answer.read()
    assert b"taken at home" not in body
    with Image.open(io.BytesIO(body)) as found:
        assert (found.format, found.size) == ("PNG", (branding.SIDE, branding.SIDE))
    for who, path, mark in ((visitor, "/login/", "src"), (client, PLACE, "src"), (client, "/chat/", "data-logo")):
        async with who.get(path) as answer:
            assert f'{mark}="/branding/logo?of={name[-12:-4]}"' in await answer.text(), path
    async with site.client("globex").get("/branding/logo") as answer:
        assert answer.status == 404, "nobody else has it"
    assert (await send(client, site, "logo", remove="on"))[0] == 302
    assert row(workspace).logo == ""
    assert list((Path(storage.location) / str(workspace.id)).iterdir()) == []
    async with visitor.get("/branding/logo") as answer:
        assert answer.status == 404


SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (SVG, "no PNG, JPEG or WebP"),
        (b"GIF89a" + bytes(40), "no PNG, JPEG or WebP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "no PNG, JPEG or WebP"),
        (picture()[:400], "no PNG, JPEG or WebP"),
        (bytes(branding.MOST_BYTES + 1), "larger than 512 KB"),
        ((branding.MOST_PIXELS // 1000 + 1, 1000), "too many pixels"),
    ],
)
async def test_what_is_no_logo(site: Site, workspace: Tenant, sent: bytes | tuple[int, int], said: str) -> None:
    client = await site.signed_in("admin", "acme")
    status, text = await send(client, site, "logo", logo=picture(sent) if isinstance(sent, tuple) else sent)
    assert status == 400
    assert said in text
    assert row(workspace).logo == ""


async def test_a_logo_that_the_plan_has_no_room_for(site: Site, workspace: Tenant) -> None:
    def plan(size: int) -> None:
        with scope.platform():
            Plan.objects.update_or_create(slug="tiny", defaults={"name": "Tiny", "storage_bytes": size})
        tenant_life.tenant_update(tenant=workspace, actor="test", plan="tiny")

    client = await site.signed_in("admin", "acme")
    in_thread(lambda: plan(10))
    status, text = await send(client, site, "logo", logo=picture())
    assert (status, row(workspace).logo) == (400, "")
    assert "no room for this file" in text
    in_thread(lambda: plan(1_000_000))
    assert (await send(client, site, "logo", logo=picture()))[0] == 302
    in_thread(lambda: plan(_file_size(workspace)))
    assert (await send(client, site, "logo", logo=picture()))[0] == 302, "the new one takes the place of the former"


def _file_size(tenant: Tenant) -> int:
    with scope.bind(life.fresh(tenant).ref()):
        return int(default_storage.size(life.fresh(tenant).logo))


# --- address, security, end --------------------------------------------------------------------------


async def test_another_address(site: Site, workspace: Tenant) -> None:
    """The former one leads to it, for people; programs are told where."""
    client = await site.signed_in("owner", "acme")
    for slug, said in (
        ("globex", "taken"), ("admin", "reserved"), ("xn--80ak6aa92e", "other alphabets"),
        ("gl0bex", "too much like"), ("no good", "small letters"), ("", "required"),
    ):  # fmt: skip
        status, text = await send(client, site, "address", slug=slug)
        assert status == 400, slug
        assert said in text, slug
    assert (await send(client, site, "address", slug="acme"))[0] == 302, "it has that one already"
    status, text = await send(client, site, "address", slug="Acme-Two")
    assert status == 200, "no redirect to another host: form-action would not let the browser follow"
    assert f"{resolve.tenant_url('acme-two')}/settings/workspace/" in text
    async with client.get("/chat/", allow_redirects=False) as answer:
        assert answer.status == 301
        assert answer.headers["Location"].startswith(resolve.tenant_url("acme-two"))
    async with site.client("acme").get("/api/v1/me") as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["details"]["moved_to"] == resolve.tenant_url("acme-two")
    async with site.client("acme-two").get("/login/") as answer:
        assert answer.status == 200


async def test_a_second_factor_for_everybody(site: Site, workspace: Tenant) -> None:
    client = await site.signed_in("admin", "acme")
    token = client.cookie_jar.filter_cookies(URL(site.url("acme")))["csrftoken"].value
    data = {"csrfmiddlewaretoken": token, "what": "security", "require_mfa": "on"}
    async with client.post(PLACE, data=data, allow_redirects=False) as answer:
        assert answer.status == 302
    assert row(workspace).require_mfa is True


async def test_an_owner_deletes_it_and_has_it_back(site: Site, workspace: Tenant) -> None:
    client = await site.signed_in("owner", "acme")
    for wrong in ("", "globex", "Acme Inc"):
        assert (await send(client, site, "delete", confirm=wrong))[0] == 400
    assert row(workspace).status == "active"
    status, text = await send(client, site, "delete", confirm="acme")
    assert (status, "was deleted" in text) == (200, True)
    assert row(workspace).status == "deleting"
    async with client.get("/chat/", headers={"Accept": "text/html", "Accept-Language": "zh"}) as answer:
        assert answer.status == 404
        assert "已被删除" in await answer.text()
    in_thread(lambda: tenant_life.tenant_restore(tenant=life.fresh(workspace), actor="test"))
    async with client.get("/chat/") as answer:
        assert answer.status == 200, "the session is good again too"


async def test_it_speaks_chinese(site: Site, workspace: Tenant) -> None:
    client = await site.signed_in("owner", "acme")
    async with client.get(PLACE, headers={"Accept-Language": "zh-CN"}) as answer:
        text = await answer.text()
    for words in ("名称与颜色", "徽标", "更改地址", "删除工作区", "14 天"):
        assert words in text, words
