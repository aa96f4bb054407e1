"""Sign-up over HTTP: from the form to the workspace, and one clear answer for everything that is wrong with it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from django.conf import settings
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext, override_settings
from yarl import URL

from accounts import sign_up, tenant_life
from accounts.models import AuditEvent, Membership, SignUp, User
from core import clock, crypto
from tenants import scope
from tenants.models import Tenant
from tests.accounts.test_impersonation import console
from tests.conftest import PASSWORD, Platform, in_thread
from tests.contracts import tenancy
from tests.services import Services
from tests.site import Site
from tests.tenants import life

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9"}


@pytest.fixture(autouse=True)
def _clean(db: Platform, services: Services) -> Iterator[None]:
    with life.cleaned(services):
        yield
        connections.close_all()
    connections.close_all()


async def send(
    client: aiohttp.ClientSession, site: Site, path: str, language: dict[str, str] | None = None, **fields: str
) -> tuple[int, str]:
    """A form of the platform host, as a browser sends it."""
    async with client.get("/signup/", headers=language) as page:
        await page.read()
    token = client.cookie_jar.filter_cookies(URL(site.url()))["csrftoken"].value
    data = {"csrfmiddlewaretoken": token, **fields}
    async with client.post(path, data=data, headers=language, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def ask(site: Site, email: str = "ann@new.test", slug: str = "newcomer", **more: Any) -> tuple[int, str]:
    form = {"email": email, "tenant_name": "New & Comer", "slug": slug}
    return await send(site.client(), site, "/signup/", **(form | more))


def letters() -> list[dict[str, str]]:
    """What waits for the worker to be sent."""

    def read() -> list[dict[str, str]]:
        with scope.platform(), connection.cursor() as cursor:
            cursor.execute("SELECT args->>'sealed' FROM procrastinate_jobs WHERE task_name = 'mail.send' ORDER BY id")
            return [json.loads(crypto.unwrap(settings.FIELD_KEYS, sealed)) for (sealed,) in cursor.fetchall()]

    return in_thread(read)  # type: ignore[no-any-return]


def link_in(letter: dict[str, str]) -> str:
    found = re.search(r"https?://localhost(?::\d+)?(/signup/\S+)", letter["body"])
    assert found
    return found[1]


async def asked(site: Site, **fields: Any) -> str:
    """The path of the link in the mail."""
    assert (await ask(site, **fields))[0] == 200
    return link_in(letters()[-1])


async def confirm(site: Site, path: str, client: Any = None, **fields: Any) -> tuple[int, str]:
    form = {"name": "Ann", "password": PASSWORD, "slug": "newcomer"}
    return await send(client or site.client(), site, path, **(form | fields))


def rows() -> tuple[set[str], set[str]]:
    """(addresses of people, slugs of tenants) beside those of the cast."""

    def read() -> tuple[set[str], set[str]]:
        with scope.platform():
            people = set(User.objects.values_list("email", flat=True))
            tenants = set(Tenant.objects.values_list("slug", flat=True))
        return {one for one in people if not one.endswith(("@acme.test", "@globex.test", "@nowhere.test"))}, tenants - {
            "acme",
            "globex",
        }

    return in_thread(read)  # type: ignore[no-any-return]


async def test_a_stranger_becomes_an_owner(site: Site) -> None:
    client = site.client()
    async with client.get("/signup/") as answer:
        assert answer.status == 200
        assert "no-store" in answer.headers["Cache-Control"]
    path = await asked(site, email="Ann@New.test", slug="NewComer")
    letter = letters()[-1]
    assert letter["to"] == "ann@new.test"
    assert "New & Comer" not in letter["body"] + letter["subject"], "no free text goes to an address that nobody proved"
    assert rows() == (set(), set()), "nothing is made for an address that nobody proved"
    async with client.get(path) as answer:
        assert (answer.status, "newcomer" in await answer.text()) == (200, True)
    async with client.head(path) as answer:
        assert answer.status in (200, 405)
    assert rows() == (set(), set()), "looking at the link makes nothing: programs do that too"
    assert (await confirm(site, path, client))[0] == 302
    assert rows() == ({"ann@new.test"}, {"newcomer"})
    async with client.get(path) as answer:
        assert (answer.status, 'value="10"' in await answer.text()) == (200, True)

    def build() -> Any:
        with scope.platform():
            tenant = Tenant.objects.get(slug="newcomer")
        assert tenant_life.tenant_build(tenant.id)
        with scope.platform():
            actions = list(
                AuditEvent.objects.filter(tenant_id=tenant.id).order_by("seq").values_list("action", flat=True)
            )
            return Membership.objects.get(tenant=tenant).role, actions

    assert in_thread(build) == ("owner", ["tenant.requested", "tenant.created"])
    async with client.get(path) as answer:
        assert "http://newcomer.localhost" in await answer.text()
    assert letters()[-1]["subject"] == "Your workspace New & Comer is ready"
    newcomer = site.client("newcomer")
    async with newcomer.get("/login/") as answer:
        assert answer.status == 200
    token = newcomer.cookie_jar.filter_cookies(URL(site.url("newcomer")))["csrftoken"].value
    form = {"email": "ann@new.test", "password": PASSWORD, "csrfmiddlewaretoken": token}
    async with newcomer.post("/login/", data=form, allow_redirects=False) as answer:
        assert answer.status == 302


@pytest.mark.parametrize(
    ("slug", "english", "chinese"),
    [
        ("acme", "taken", "已被占用"),
        ("billing", "reserved", "平台保留"),
        ("b1lling", "looks like one of the platform", "过于相似"),
        ("acm3", "looks too much like", "过于相似"),
        ("xn--80ak6aa92e", "other alphabets", "xn--"),
        ("аcme", "small letters a to z", "小写字母"),  # the first letter is Cyrillic
        ("a_b", "small letters a to z", "小写字母"),
        ("former", "not given away again", "不再分配"),
    ],
)
async def test_a_name_that_cannot_be_had(site: Site, slug: str, english: str, chinese: str) -> None:
    def retire() -> None:
        tenant = life.request("former")
        tenant_life.tenant_move(tenant=tenant, slug="present", actor="test")

    if slug == "former":
        in_thread(retire)
    for language, said in ((None, english), (CHINESE, chinese)):
        status, text = await ask(site, slug=slug, language=language)
        assert (status, said in text) == (400, True), language
    assert letters() == []
    async with site.client().get("/signup/slug/", params={"slug": slug}) as answer:
        found = await answer.json()
        assert (found["free"], english in found["message"]) == (False, True)


@pytest.mark.parametrize(
    "fields", [{"email": "nobody"}, {"email": ""}, {"email": "a@b.test\0"}, {"tenant_name": ""}, {"slug": ""}]
)
async def test_a_form_that_is_not_filled_in(site: Site, fields: dict[str, str]) -> None:
    status, text = await ask(site, **fields)
    assert (status, "field-error" in text) == (400, True)
    assert letters() == []


async def test_who_is_known_is_not_told(site: Site) -> None:
    """A18: the same page and the same work for an address that we know and one that we do not; only the mail differs."""
    pages = [await ask(site, email=email) for email in ("member@acme.test", "nobody@acme.test")]
    known_page, unknown_page = (tenancy.words(text) for _, text in pages)
    assert known_page == unknown_page.replace("nobody@acme.test", "member@acme.test")
    assert [status for status, _ in pages] == [200, 200]
    known, unknown = letters()
    assert known["body"] != unknown["body"]
    assert "have an account" in known["body"]

    def queries(email: str) -> int:
        with CaptureQueriesContext(connection) as made:
            sign_up.sign_up_request(email=email, tenant_name="A", slug="another", language="en")
        return len(made)

    counts = in_thread(lambda: {queries(email) for email in ("viewer@acme.test", "nobody-2@acme.test")})
    assert len(counts) == 1


async def test_a_link_that_is_none(site: Site) -> None:
    """Unknown, expired, of a tenant that is gone; in both languages."""
    path = await asked(site)

    def expire() -> None:
        with scope.platform():
            SignUp.objects.update(expires_at=clock.now() - timedelta(seconds=1))

    in_thread(expire)
    for wrong in (path, path[:-2] + "/", "/signup/x/", f"/signup/{'a' * 500}/"):
        for headers, said in ((None, "used already, has expired"), (CHINESE, "已过期或不完整")):
            async with site.client().get(wrong, headers=headers) as answer:
                assert answer.status == 404, wrong
                text = await answer.text()
                assert said in text, wrong
        assert (await confirm(site, wrong))[0] == 404, wrong
    assert rows() == (set(), set())


async def test_a_link_used_again(site: Site) -> None:
    """A replayed link shows how far it is, and makes nothing more."""
    path = await asked(site)
    assert (await confirm(site, path))[0] == 302
    status, text = await confirm(site, path, slug="second", password="another-long-password")
    assert (status, "is being made" in text) == (200, True)
    assert rows() == ({"ann@new.test"}, {"newcomer"})

    def gone() -> None:
        with scope.platform():
            Tenant.objects.filter(slug="newcomer").update(status="deleting")

    in_thread(gone)
    async with site.client().get(path) as answer:
        assert answer.status == 404


async def test_two_confirmations_at_once_make_one_workspace(site: Site) -> None:
    path = await asked(site)
    answers = await asyncio.gather(*(confirm(site, path, slug=f"newcomer{'-b' * n}") for n in range(2)))
    assert sorted(status for status, _ in answers) in ([200, 302], [302, 404])
    people, tenants = rows()
    assert (people, len(tenants)) == ({"ann@new.test"}, 1)


async def test_two_people_who_want_one_name(site: Site) -> None:
    """Who comes second is told so beside the field, is offered others, and is nobody yet."""
    first, second = await asked(site), await asked(site, email="bob@new.test")
    assert (await confirm(site, first))[0] == 302
    status, text = await confirm(site, second, name="Bob")
    assert (status, "This address is taken." in text) == (400, True)
    assert "newcomer-team" in text
    assert rows()[0] == {"ann@new.test"}
    assert (await confirm(site, second, name="Bob", choice="newcomer-team"))[0] == 302
    assert rows() == ({"ann@new.test", "bob@new.test"}, {"newcomer", "newcomer-team"})


@pytest.mark.parametrize(
    ("password", "said"),
    [("short", "at least 10"), ("password12", "too common"), ("", "required"), ("x" * 1025, "at most 1024")],
)
async def test_a_password_that_is_not_taken(site: Site, password: str, said: str) -> None:
    path = await asked(site)
    status, text = await confirm(site, path, password=password)
    assert (status, said in text) == (400, True)
    assert rows() == (set(), set())


async def test_a_password_of_two_hundred_bytes_counts_whole(site: Site) -> None:
    """bcrypt alone would read 72 of them."""
    password = "密" * 66 + "ab"
    assert len(password.encode()) == 200
    path = await asked(site)
    assert (await confirm(site, path, password=password))[0] == 302

    def checked() -> list[bool]:
        with scope.platform():
            user = User.objects.get(email="ann@new.test")
            return [user.check_password(one) for one in (password, password[:-1], password[:24], password + "c")]

    assert in_thread(checked) == [True, False, False, False]


async def test_somebody_we_know_confirms_signed_in(site: Site) -> None:
    """A link of theirs alone makes nothing; and signed in as somebody else they are asked to change."""

    def person(email: str) -> None:
        with scope.platform():
            User.objects.create_user(email, PASSWORD, is_staff=True)

    for email in ("known@new.test", "other@new.test"):
        in_thread(lambda email=email: person(email))
    path = await asked(site, email="known@new.test")
    async with site.client().get(path) as answer:
        text = await answer.text()
    assert "There is an account for known@new.test already" in text
    status, text = await confirm(site, path)
    assert (status, "/accounts/login/" in text) == (200, True)
    other = await console(site, "other@new.test")
    status, text = await confirm(site, path, other)
    assert (status, "You are signed in as other@new.test" in text) == (200, True)
    assert rows()[1] == set()
    known = await console(site, "known@new.test")
    async with known.get(path) as answer:
        assert "becomes its owner" in await answer.text()
    assert (await send(known, site, path, slug="newcomer"))[0] == 302
    assert rows()[1] == {"newcomer"}


async def test_an_address_that_becomes_somebodys_meanwhile(site: Site) -> None:
    """Two links for one address: after the first, the second asks its owner to sign in instead of a new password."""
    first, second = await asked(site), await asked(site, slug="second")
    assert (await confirm(site, first))[0] == 302
    status, text = await confirm(site, second, slug="second", password="somebody-elses-password")
    assert (status, "There is an account" in text) == (200, True)

    def unchanged() -> bool:
        with scope.platform():
            return User.objects.get(email="ann@new.test").check_password(PASSWORD)

    assert in_thread(unchanged)
    assert rows()[1] == {"newcomer"}


async def test_closed_sign_up(site: Site) -> None:
    path = await asked(site)
    with override_settings(SIGN_UP_OPEN=False):
        for address in ("/signup/", path):
            for headers, said in ((None, "takes no sign-ups"), (CHINESE, "未开放注册")):
                async with site.client().get(address, headers=headers) as answer:
                    assert (answer.status, said in await answer.text()) == (403, True)
        async with site.client().get("/signup/slug/?slug=free-one") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (403, "sign_up_closed")
    assert rows() == (set(), set())


async def test_how_often_one_may_ask(site: Site) -> None:
    """Three times an hour for a mailbox, ten times from one network; a page says so, with Retry-After."""
    for _ in range(sign_up.PER_MAILBOX):
        assert (await ask(site))[0] == 200
    assert (await ask(site))[0] == 429
    answers = [(await ask(site, email=f"person-{n}@new.test"))[0] for n in range(sign_up.PER_ADDRESS)]
    assert answers.count(200) <= sign_up.PER_ADDRESS - sign_up.PER_MAILBOX
    assert answers[-1] == 429
    status, text = await ask(site, email="more@new.test", language=CHINESE)
    assert (status, "秒后" in text) == (429, True)
    assert len(letters()) == sign_up.PER_MAILBOX + answers.count(200)


async def test_a_form_from_elsewhere(site: Site) -> None:
    async with site.client().post("/signup/", data={"email": "ann@new.test", "slug": "x"}) as answer:
        assert answer.status == 403, "no CSRF token"
    assert letters() == []


async def test_it_is_all_in_chinese_too(site: Site) -> None:
    client = site.client()
    async with client.get("/signup/", headers=CHINESE) as answer:
        assert "创建工作区" in await answer.text()
    status, text = await ask(site, language=CHINESE)
    assert (status, "请查看你的邮箱" in text) == (200, True)
    letter = letters()[-1]
    assert letter["subject"] == "请确认用于 newcomer 的邮箱地址"
    path = link_in(letter)
    async with client.get(path, headers=CHINESE) as answer:
        assert "你的邮箱地址已确认" in await answer.text()
    assert (await confirm(site, path, client))[0] == 302
    async with client.get(path, headers=CHINESE) as answer:
        assert "正在创建 New &amp; Comer" in await answer.text()


# --- the way back from a deletion ----------------------------------------------------------------------


async def test_the_link_in_the_letter_of_a_deletion(site: Site) -> None:
    def deleted() -> None:
        tenant_life.tenant_delete(tenant=life.made("leaving"), actor="test")

    in_thread(deleted)
    found = re.search(r"(/restore/\S+)", letters()[-1]["body"])
    assert found
    path, client = found[1], site.client()
    async with client.get(path) as answer:
        assert (answer.status, "Leaving was deleted" in await answer.text()) == (200, True)
    async with client.get(path, headers=CHINESE) as answer:
        assert "恢复工作区" in await answer.text()
    async with site.client("leaving").get("/login/", headers={"Accept": "text/html"}) as answer:
        assert answer.status == 404
    status, text = await send(client, site, path)
    assert (status, "Leaving is back" in text) == (200, True)
    async with site.client("leaving").get("/login/") as answer:
        assert answer.status == 200
    for again in (path, "/restore/nonsense/"):
        async with client.get(again) as answer:
            assert answer.status == 404
        assert (await send(client, site, again))[0] == 404
