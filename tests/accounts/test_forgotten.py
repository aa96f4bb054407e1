"""Forgotten passwords: one answer for all, a link that works once on its host, no way past a second factor
(A15, A16, A18, P39, P40)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from accounts import codes, forgotten, second_factor
from accounts.models import OneTimeCode, RefreshFamily, Session, User
from core import clock
from core.errors import PaasError
from core.ids import uuid7
from tenants import scope
from tenants.models import Tenant
from tests.accounts.visitors import events, form, letters, link_in, path_in, person, put_back, said, try_password
from tests.conftest import PASSWORD, Platform, in_thread
from tests.site import Site

MEMBER = "member@acme.test"
NEW = "a-new-and-long-password"
DOORS = [("acme", "/login/forgot/", "/login/"), ("", "/accounts/forgot/", "/accounts/login/")]


@pytest.fixture
def member(db: Platform) -> Iterator[Any]:
    found = person(MEMBER)
    yield found
    put_back(MEMBER, found.pk)


async def work() -> None:
    """Do what the worker does with the requests that wait."""
    from procrastinate.contrib.django.models import ProcrastinateJob

    def waiting() -> list[dict[str, Any]]:
        with scope.platform():
            return [job.args for job in ProcrastinateJob.objects.filter(task_name=forgotten.JOB).order_by("id")]

    with scope.platform():
        for arguments in in_thread(waiting):
            await forgotten.send(**arguments)


async def mailed(site: Site, slug: str, path: str, email: str) -> list[tuple[str, str, str]]:
    """Ask on this host for this address; the letters that go out."""
    status, _, _ = await form(site, site.client(slug), slug, path, email=email)
    assert status == 200
    await work()
    return await letters()


@pytest.mark.parametrize(("slug", "path", "door"), DOORS)
async def test_from_the_question_to_the_new_password(
    site: Site, member: Any, db: Platform, slug: str, path: str, door: str
) -> None:
    open_ = await site.signed_in("member")
    elsewhere = await site.signed_in_on_platform(MEMBER)

    def family() -> None:
        with scope.platform():
            RefreshFamily.objects.create(
                tenant_id=db.acme.id, user=member, jti=uuid7(), issued_at=clock.now(), expires_at=clock.now()
            )

    in_thread(family)
    ((to, subject, body),) = await mailed(site, slug, path, " MEMBER@acme.test ")
    assert (to, subject) == (MEMBER, f"A new password for {'Acme' if slug else 'Agent PaaS'}")
    assert link_in(body).startswith(f"http://{'acme.' if slug else ''}localhost:8000{path.replace('forgot', 'reset')}")
    link = path_in(body)
    browser = site.client(slug)
    status, text, headers = await said(browser, "GET", link)
    assert (status, MEMBER in text) == (200, True)
    assert "no-store" in headers["Cache-Control"]
    for weak, why in (
        ("short", "at least 10 characters"),
        ("password1234", "too common"),
        ("x" * 1025, "at most 1024"),
    ):
        status, text, _ = await form(site, browser, slug, link, new=weak)
        assert (status, why in text) == (400, True), weak
    status, _, headers = await form(site, browser, slug, link, new=NEW)
    assert (status, headers["Location"]) == (302, door)
    assert "sessionid" not in {cookie.key for cookie in browser.cookie_jar if cookie.value}, "nobody is signed in by it"
    _, text, _ = await said(browser, "GET", door)
    assert "The password is changed. Sign in with it." in text
    assert (await said(open_, "GET", "/api/v1/me"))[0] == 401
    assert (await said(elsewhere, "GET", "/workspaces/"))[0] == 302

    def left() -> tuple[int, int]:
        with scope.platform():
            alive = RefreshFamily.objects.filter(user=member, revoked_at=None).count()
            return Session.objects.filter(user=member).count(), alive

    assert in_thread(left) == (0, 0)
    assert (await form(site, browser, slug, link, new=NEW + "2"))[0] == 404, "once"
    assert (await said(browser, "GET", link))[0] == 404
    assert (await try_password(site, browser, slug, MEMBER, PASSWORD))[0] == 401
    assert (await try_password(site, browser, slug, MEMBER, NEW))[0] == 302
    assert len(events("password.reset", db.acme if slug else None)) == 1
    assert (await letters())[-1][:2] == (MEMBER, "Your password was changed")


async def test_a_name_with_an_address_in_it_is_not_repeated(site: Site, member: Any, db: Platform) -> None:
    """A workspace's owner writes nothing of theirs into the platform's letter about somebody's password."""

    def call(name: str) -> None:
        with scope.platform():
            Tenant.objects.filter(pk=db.acme.id).update(name=name)

    in_thread(lambda: call("Locked! Go to https://evil.test/ now"))
    try:
        ((_, subject, body),) = await mailed(site, "acme", "/login/forgot/", MEMBER)
    finally:
        in_thread(lambda: call("Acme"))
    assert subject == "A new password for acme"
    assert "evil" not in body


@pytest.mark.parametrize(("slug", "path", "door"), DOORS)
async def test_the_answer_is_the_same_for_everybody(site: Site, db: Platform, slug: str, path: str, door: str) -> None:
    """A18: in words and in headers; a letter goes to whom there is."""
    answers = []
    for email in (MEMBER, "nobody@nowhere.test", "rival@globex.test"):
        status, text, headers = await form(site, site.client(slug), slug, path, email=email)
        text = re.sub(r'csrfmiddlewaretoken" value="\w+"', "", text.replace(email, "-"))
        answers.append((status, text, sorted(set(headers) - {"Content-Length"})))
    assert answers[0] == answers[1] == answers[2]
    await work()
    assert [to for to, _, _ in await letters()] == ([MEMBER] if slug else [MEMBER, "rival@globex.test"])


def test_the_same_is_asked_of_the_database_for_everybody(db: Platform) -> None:
    """A18: nobody is looked up before the answer, so that the clock tells nothing."""
    asked: dict[str, list[str]] = {MEMBER: [], "nobody@nowhere.test": []}
    with scope.bind(db.acme):
        for email, statements in asked.items():

            def noted(execute: Any, sql: str, *rest: Any, into: list[str] = statements) -> Any:
                into.append(sql)
                return execute(sql, *rest)

            with connection.execute_wrapper(noted):
                forgotten.password_reset_request(email=email, language="en")
    there, nobody = asked.values()
    assert there == nobody != []


async def test_who_gets_no_link(site: Site, member: Any, db: Platform) -> None:
    """Somebody who is switched off."""

    def active(to: bool) -> None:
        with scope.platform():
            User.objects.filter(pk=member.pk).update(is_active=to)

    in_thread(lambda: active(False))
    assert await mailed(site, "acme", "/login/forgot/", MEMBER) == []
    in_thread(lambda: active(True))
    assert len(await mailed(site, "acme", "/login/forgot/", "nobody@nowhere.test")) == 1, "the question of before"


@pytest.mark.parametrize("email", ["nonsense", "", "x" * 300 + "@a.test", "a@b.test\x00"])
async def test_what_is_no_address(site: Site, email: str) -> None:
    status, _, _ = await form(site, site.client("acme"), "acme", "/login/forgot/", email=email)
    assert status == 400


async def test_questions_are_counted(site: Site, db: Platform) -> None:
    """P40: by mailbox, the same for who is somebody and who is not, with the time to wait."""
    for email in (MEMBER, "nobody@nowhere.test"):
        browser = site.client("acme")
        for _ in range(forgotten.PER_MAILBOX[0]):
            assert (await form(site, browser, "acme", "/login/forgot/", email=email))[0] == 200
        status, text, headers = await form(site, browser, "acme", "/login/forgot/", email=email)
        assert (status, "Too many tries. Try again in 20 minutes." in text) == (429, True)
        assert int(headers["Retry-After"]) > 1000


def test_one_network_asks_so_often(db: Platform) -> None:
    with scope.bind(db.acme):
        for number in range(forgotten.PER_NETWORK[0]):
            forgotten.password_reset_request(email=f"{number}@nowhere.test", language="")
        with pytest.raises(PaasError, match="Too many"):
            forgotten.password_reset_request(email="one-more@nowhere.test", language="")


def issue(user: Any, tenant: Any, purpose: str = "password", seconds: float = 60, **data: Any) -> str:
    def write() -> str:
        with scope.platform():
            return codes.issue(purpose, seconds=seconds, user=user, tenant_id=tenant and tenant.id, **data)

    return str(in_thread(write))


async def test_a_link_is_for_its_host(site: Site, member: Any, db: Platform) -> None:
    """A15: swapped between tenants and purposes, too old, made up."""
    refused = [
        ("acme", issue(member, db.globex)),
        ("acme", issue(member, None)),
        ("acme", issue(member, db.acme, "email", email="x@y.test")),
        ("acme", issue(member, db.acme, seconds=-1)),
        ("acme", "x"),
        ("globex", issue(member, db.acme)),
        ("", issue(member, db.acme)),
    ]
    for slug, code in refused:
        path = f"{'/login' if slug else '/accounts'}/reset/{code}/"
        client = site.client(slug)
        await said(client, "GET", "/login/" if slug else "/accounts/login/")
        assert (await said(client, "GET", path))[0] == 404
        status, text, _ = await form(site, client, slug, path, new=NEW)
        assert (status, "link_invalid" in text) == (404, True)
    assert person(MEMBER).password == member.password
    status, text, _ = await said(site.client("acme"), "GET", f"/login/reset/{issue(member, db.acme)}/")
    assert status == 200


async def test_the_newest_link_counts(site: Site, member: Any, db: Platform) -> None:
    first = path_in((await mailed(site, "acme", "/login/forgot/", MEMBER))[0][2])
    await mailed(site, "acme", "/login/forgot/", MEMBER)
    assert (await said(site.client("acme"), "GET", first))[0] == 404


def test_of_many_at_once_one_sets_a_password(member: Any, db: Platform) -> None:
    """A15: raced; the password is that of who was first."""
    from django.db import connections

    code = issue(member, db.acme)
    together = Barrier(6)

    def attempt(number: int) -> int | None:
        try:
            together.wait(10)
            with scope.bind(db.acme):
                forgotten.password_reset(code=code, new=f"{NEW}-{number}")
            return number
        except PaasError as error:
            assert error.code == "link_invalid"
            return None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        won = [done.result() for done in [threads.submit(attempt, number) for number in range(6)]]
    (winner,) = [number for number in won if number is not None]
    assert person(MEMBER).check_password(f"{NEW}-{winner}")


async def test_it_does_not_skip_the_second_factor(
    site: Site, member: Any, db: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A16."""
    monkeypatch.setattr(second_factor, "is_enrolled", lambda user: True)
    browser = site.client("acme")
    link = f"/login/reset/{issue(member, db.acme)}/"
    assert (await form(site, browser, "acme", link, new=NEW))[0] == 302
    assert (await said(browser, "GET", "/api/v1/me"))[0] == 401
    status, _, headers = await try_password(site, browser, "acme", MEMBER, NEW)
    assert (status, headers["Location"]) == (302, "/login/code/")
    assert (await said(browser, "GET", "/api/v1/me"))[0] == 401


async def test_who_reads_the_mailbox_is_let_try(site: Site, member: Any, db: Platform) -> None:
    """A17: while others use up all tries of the address, the link in the mail leads in."""
    stranger = site.client("acme")
    for _ in range(10):
        await try_password(site, stranger, "acme", MEMBER, "wrong")
    assert (await try_password(site, stranger, "acme", MEMBER, PASSWORD))[0] == 429
    browser = site.client("acme")
    link = f"/login/reset/{issue(member, db.acme)}/"
    assert (await form(site, browser, "acme", link, new=NEW))[0] == 302
    assert (await try_password(site, browser, "acme", MEMBER, NEW))[0] == 302


async def test_in_the_language_of_the_person(site: Site, member: Any, db: Platform) -> None:
    def speak() -> None:
        with scope.platform():
            User.objects.filter(pk=member.pk).update(language="zh-hans")

    in_thread(speak)
    ((_, subject, body),) = await mailed(site, "acme", "/login/forgot/", MEMBER)
    assert subject == "为 Acme 设置新密码"
    assert "http://acme.localhost:8000/login/reset/" in body


def test_the_address_is_in_no_job_in_the_clear(db: Platform) -> None:
    from procrastinate.contrib.django.models import ProcrastinateJob

    with scope.bind(db.acme):
        forgotten.password_reset_request(email="canary@nowhere.test", language="")
    with scope.platform():
        assert "canary" not in str([job.args for job in ProcrastinateJob.objects.all()])


async def test_an_hour_and_no_longer(site: Site, member: Any, db: Platform) -> None:
    link = path_in((await mailed(site, "acme", "/login/forgot/", MEMBER))[0][2])

    def until() -> Any:
        with scope.platform():
            row = OneTimeCode.objects.get(user=member)
            left = row.expires_at - clock.now()
            OneTimeCode.objects.update(expires_at=clock.now() - timedelta(seconds=1))
            return left.total_seconds()

    assert 3500 < in_thread(until) <= 3600
    assert (await said(site.client("acme"), "GET", link))[0] == 404
