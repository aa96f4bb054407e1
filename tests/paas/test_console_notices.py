"""Notices: whom they reach, in which language, for how long; and that they are only ever text."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from accounts.models import AuditEvent
from core import clock
from tenants import scope
from tenants.models import Notice
from tests.conftest import Platform, in_thread
from tests.console import Console, console  # noqa: F401 - the fixture

PLACE = "/admin/tenants/notice"
EVIL = "<img src=x onerror=alert(1)>"


async def seen(client: Any, **headers: str) -> list[dict[str, Any]]:
    async with client.get("/api/v1/notices", headers=headers) as answer:
        assert answer.status == 200
        found: list[dict[str, Any]] = (await answer.json())["notices"]
        return found


async def test_whom_they_reach(site: Any, db: Platform) -> None:
    now = clock.now()
    hour = timedelta(hours=1)

    def write() -> None:
        with scope.platform():
            for title, fields in {
                "everybody": {},
                "its plan": {"plans": ["pro"], "level": "critical"},
                "itself": {"tenant_ids": [db.acme.id], "level": "warning", "ends_at": now + hour},
                "another plan": {"plans": ["free"]},
                "another tenant": {"tenant_ids": [db.globex.id]},
                "over": {"ends_at": now - hour},
                "not yet": {"starts_at": now + hour},
            }.items():
                Notice.objects.create(**{"title_en": title, "starts_at": now - 2 * hour} | fields)

    in_thread(write)
    member, rival = await site.signed_in("member"), await site.signed_in("rival", "globex")
    assert [one["title"] for one in await seen(member)] == ["its plan", "itself", "everybody"], "the most urgent first"
    assert {one["title"] for one in await seen(rival)} == {"its plan", "everybody", "another tenant"}
    for name, there in (("page", "/settings/"), ("chat", "/chat/")):
        async with member.get(there) as answer:
            page = await answer.text()
        assert "data-notices" in page, name
        assert "portal/notices.js" in page, name


async def test_languages_and_markup(site: Any, db: Platform) -> None:
    def write() -> None:
        with scope.platform():
            Notice.objects.create(title_en="Maintenance", title_zh="维护", text_en=EVIL)

    in_thread(write)
    member = await site.signed_in("member")
    (english,) = await seen(member)
    (chinese,) = await seen(member, **{"Accept-Language": "zh-CN"})
    assert (english["title"], chinese["title"]) == ("Maintenance", "维护")
    assert (english["text"], chinese["text"]) == (EVIL, EVIL), "as it was written: English where there is no Chinese"
    async with member.get("/settings/") as answer:
        assert EVIL not in await answer.text()


def test_written_in_the_console(db: Platform, console: Console) -> None:
    given = {"level": "info", "title_en": EVIL, "starts_at_0": "2026-01-01", "starts_at_1": "00:00", "plans": ["pro"]}
    actor = f"operator:{console.user.pk}"
    with scope.platform():
        assert console.post(f"{PLACE}/add", **given, tenant_ids="nobody").status_code == 200
        assert (
            "There is no tenant nobody." in console.post(f"{PLACE}/add", **given, tenant_ids="nobody").content.decode()
        )
        ends = {"ends_at_0": "2025-01-01", "ends_at_1": "00:00"}
        assert console.post(f"{PLACE}/add", **given, **ends).status_code == 200, "it would end before it begins"
        assert not Notice.objects.exists()
        assert console.post(f"{PLACE}/add", **given, tenant_ids="Acme\n").status_code == 302
        made = Notice.objects.get()
        assert (made.tenant_ids, made.plans, made.created_by) == ([db.acme.id], ["pro"], actor)
        for path in ("", f"/{made.pk}/change"):
            assert EVIL not in console.get(f"{PLACE}{path}").content.decode()
        assert "acme" in console.get(f"{PLACE}/{made.pk}/change").content.decode()
        changed = given | {"title_en": "Moved", "tenant_ids": ""}
        assert console.post(f"{PLACE}/{made.pk}/change", **changed).status_code == 302
        assert console.post(f"{PLACE}/{made.pk}/delete", post="yes").status_code == 302
        assert not Notice.objects.exists()
        told = AuditEvent.objects.filter(action__startswith="notice.", target=str(made.pk), actor=actor).order_by("seq")
        assert [one.action for one in told] == ["notice.created", "notice.updated", "notice.deleted"]


def test_other_staff_tells_nobody_anything(db: Platform) -> None:
    with scope.platform():
        staff = Console(superuser=False)
        assert staff.post(f"{PLACE}/add", title_en="x").status_code == 403
        assert not Notice.objects.exists()
