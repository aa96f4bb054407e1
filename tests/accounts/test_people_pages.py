"""The page of members, and where an invitation's link leads, as browsers meet them."""

from __future__ import annotations

import dataclasses
import re
import uuid
from typing import Any

import aiohttp
import pytest
from yarl import URL

from accounts import invitations
from accounts.models import Invitation, User
from core import clock
from tenants import scope
from tests.accounts.people import as_, events, join, letters, link_in, people, person, role_of, within
from tests.conftest import CAST, PASSWORD, Platform, in_thread
from tests.site import Site

__all__ = ["people"]
PAGE = "/settings/members/"
NEW = "new@person.test"
CHOSEN = "another-long-password"


def cookie(client: aiohttp.ClientSession, name: str) -> str:
    found = client.cookie_jar.filter_cookies(client._base_url or URL())
    return found[name].value if name in found else ""


async def get(client: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with client.get(path, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def post(client: aiohttp.ClientSession, path: str, **form: Any) -> tuple[int, str]:
    """Status, and the page or where it leads."""
    data = {**form, "csrfmiddlewaretoken": cookie(client, "csrftoken")}
    async with client.post(path, data=data, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location") or await answer.text()


def invite(db: Platform, email: str = NEW, role: str = "member") -> str:
    owner = as_(db.acme, "owner@acme.test")
    within(db.acme, invitations.invitation_create, actor=owner, email=email, role=role)
    return f"/invitations/{link_in(letters(email)[-1])}/"


def opened(db: Platform) -> list[str]:
    def read() -> list[str]:
        found = Invitation.objects.filter(accepted_at=None, revoked_at=None)
        return sorted(found.values_list("email", flat=True))

    return list(within(db.acme, read))


# --- the page ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", CAST)
async def test_who_sees_the_page(people: Platform, site: Site, who: str) -> None:
    client = await site.signed_in(who)
    allowed = who in ("owner", "admin")
    status, page = await get(client, PAGE)
    assert status == (200 if allowed else 403)
    assert ("viewer@acme.test" in page) == allowed
    user = join(people.acme, "other@acme.test")
    posts = (PAGE, f"{PAGE}{user.pk}/role/", f"{PAGE}{user.pk}/remove/", f"{PAGE}transfer/")
    assert ("Hand the workspace over" in page) == (who == "owner")
    assert (f"{PAGE}transfer/" in page) == (who == "owner")
    if not allowed:
        for path in posts:
            assert (await post(client, path, role="admin", emails=NEW, user_id=str(user.pk)))[0] == 403
        assert role_of(people.acme, "other@acme.test") == "member"
        assert letters() == []
    assert (await get(client, f"{PAGE}leave/"))[0] == 200


async def test_nobody_is_sent_to_sign_in(people: Platform, site: Site) -> None:
    client = site.client("acme")
    for path in (PAGE, f"{PAGE}leave/"):
        async with client.get(path, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, f"/login/?next={path}")


async def test_names_are_text(people: Platform, site: Site) -> None:
    user = join(people.acme, "other@acme.test")

    def rename() -> None:
        with scope.platform():
            User.objects.filter(pk=user.pk).update(name='"><script>alert(1)</script>')

    in_thread(rename)
    status, page = await get(await site.signed_in("owner"), PAGE)
    assert status == 200
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


async def test_many_are_invited_at_once_and_each_failure_says_why(people: Platform, site: Site) -> None:
    client = await site.signed_in("admin")
    _, page = await get(client, PAGE)
    assert "4 of 100 people" in page
    assert "Nobody is invited just now." in page
    emails = "a@new.test, B@New.test\nmember@acme.test; nobody, <b>@x.test\n a@new.test"
    status, page = await post(client, PAGE, emails=emails, role="viewer")
    assert status == 400
    assert opened(people) == ["a@new.test", "b@new.test"]
    assert "Invited: a@new.test, b@new.test" in page
    assert "member@acme.test: This person is a member already." in page
    assert "nobody: Enter a valid email address." in page
    assert "&lt;b&gt;@x.test: Enter a valid email address." in page
    kept = re.search(r"<textarea[^>]*>([^<]*)</textarea>", page)
    assert kept is not None
    assert kept[1].split() == ["member@acme.test", "nobody", "&lt;b&gt;@x.test"], "those that failed stay"
    assert "6 of 100 people" in page
    assert (await post(client, PAGE, emails="c@new.test", role="member")) == (302, PAGE)
    _, page = await get(client, PAGE)
    assert "Invited: c@new.test" in page
    assert 'data-email="c@new.test"' in page
    for emails, role, said in (
        ("", "member", "This field is required."),
        (" ,;\n", "member", "This field is required."),
        (", ,", "member", "Enter an e-mail address."),
        (",".join(f"n{number}@new.test" for number in range(51)), "member", "At most 50 addresses at once."),
        ("d@new.test", "owner", "Select a valid choice."),
        ("d@new.test", "king", "Select a valid choice."),
    ):
        status, page = await post(client, PAGE, emails=emails, role=role)
        assert status == 400, emails
        assert said in page or emails == " ,;\n", emails
    assert len(opened(people)) == 3


async def test_roles_removal_and_the_last_owner(people: Platform, site: Site) -> None:
    client = await site.signed_in("owner")
    await get(client, PAGE)
    member, own = person("member@acme.test").pk, person("owner@acme.test").pk
    assert await post(client, f"{PAGE}{member}/role/", role="admin") == (302, PAGE)
    assert role_of(people.acme, "member@acme.test") == "admin"
    assert "The role was changed." in (await get(client, PAGE))[1]
    assert await post(client, f"{PAGE}{member}/remove/") == (302, PAGE)
    assert role_of(people.acme, "member@acme.test") is None
    status, page = await post(client, f"{PAGE}{own}/role/", role="admin")
    assert (status, "Make somebody else an owner first." in page) == (409, True)
    status, page = await post(client, f"{PAGE}leave/")
    assert (status, "Make somebody else an owner first." in page) == (409, True)
    status, page = await post(client, f"{PAGE}{person('viewer@acme.test').pk}/role/", role="king")
    assert status == 400
    rival = person("rival@globex.test").pk
    for path in (f"{PAGE}{rival}/role/", f"{PAGE}{rival}/remove/", f"{PAGE}{uuid.uuid4()}/remove/"):
        assert (await post(client, path, role="viewer"))[0] == 404
    assert role_of(people.globex, "rival@globex.test") == "owner"


async def test_invitations_again_and_back(people: Platform, site: Site) -> None:
    first = invite(people)
    client = await site.signed_in("admin")
    (found,) = within(people.acme, lambda: list(Invitation.objects.all()))
    await get(client, PAGE)
    assert await post(client, f"/settings/invitations/{found.pk}/resend/") == (302, PAGE)
    second = f"/invitations/{link_in(letters(NEW)[-1])}/"
    stranger = site.client("acme")
    assert (await get(stranger, first))[0] == 404
    assert (await get(stranger, second))[0] == 200
    assert await post(client, f"/settings/invitations/{found.pk}/revoke/") == (302, PAGE)
    assert (await get(stranger, second))[0] == 404
    for what in ("resend", "revoke"):
        assert (await post(client, f"/settings/invitations/{found.pk}/{what}/"))[0] == 404


async def test_handing_over_and_leaving(people: Platform, site: Site) -> None:
    client = await site.signed_in("owner")
    await get(client, PAGE)
    for wrong in ("", "x", str(person("owner@acme.test").pk)):
        assert (await post(client, f"{PAGE}transfer/", user_id=wrong))[0] == 400
    heir = person("member@acme.test").pk
    assert await post(client, f"{PAGE}transfer/", user_id=str(heir), step_down="on") == (302, PAGE)
    assert (role_of(people.acme, "owner@acme.test"), role_of(people.acme, "member@acme.test")) == ("admin", "owner")
    status, page = await post(client, f"{PAGE}leave/")
    assert (status, "You have left Acme" in page) == (200, True)
    assert role_of(people.acme, "owner@acme.test") is None
    assert (await get(client, PAGE))[0] == 302


async def test_in_chinese(people: Platform, site: Site) -> None:
    link = invite(people)
    client = await site.signed_in("owner")
    client.headers["Accept-Language"] = "zh-hans"
    _, page = await get(client, PAGE)
    for word in ("成员", "邀请成员", "套餐允许 100 人，已用 5 人", "所有者", "重新发送", "移交工作区"):
        assert word in page, word
    _, page = await post(client, PAGE, emails="member@acme.test", role="member")
    assert "member@acme.test: 此人已经是成员。" in page
    _, page = await post(client, f"{PAGE}leave/")
    assert "请先将其他人设为所有者" in page
    visitor = site.client("acme")
    visitor.headers["Accept-Language"] = "zh-hans"
    _, page = await get(visitor, link)
    assert "加入 Acme" in page
    assert "受邀加入，角色为成员" in page


# --- the link ------------------------------------------------------------------------------------------


async def test_somebody_new_joins_and_is_in(people: Platform, site: Site) -> None:
    link = invite(people, role="admin")
    client = site.client("acme")
    for _ in range(2):  # programs open links in mails too: looking changes nothing
        status, page = await get(client, link)
        assert (status, "Choose a password" in page, NEW in page) == (200, True, True)
    assert opened(people) == [NEW]
    for form in ({}, {"name": "New"}, {"password": CHOSEN}, {"name": "New", "password": "short"}):
        status, page = await post(client, link, **form)
        assert (status, "field-error" in page) == (400, True), form
    assert role_of(people.acme, NEW) is None
    assert await post(client, link, name="New Person", password=CHOSEN) == (302, "/chat/")
    async with client.get("/api/v1/me") as answer:
        said = await answer.json()
    assert (said["user"]["email"], said["user"]["name"], said["role"]) == (NEW, "New Person", "admin")
    (event,) = events(people.acme, "session.created")
    assert event.data == {"method": "invitation"}
    other = site.client("acme")
    assert (await get(other, link))[0] == 404
    await get(other, "/login/")
    assert (await post(other, link, name="Thief", password=CHOSEN))[0] == 404


async def test_a_known_person_gives_the_password(people: Platform, site: Site) -> None:
    link = invite(people, "rival@globex.test", "viewer")
    client = site.client("acme")
    status, page = await get(client, link)
    assert (status, "There is an account with this address already" in page) == (200, True)
    status, page = await post(client, link, password="wrong-password")
    assert (status, "The password is not right." in page) == (401, True)
    status, page = await post(client, link, name="New", password=CHOSEN)  # as if new: sets nothing
    assert status == 401
    assert role_of(people.acme, "rival@globex.test") is None
    assert await post(client, link, password=PASSWORD) == (302, "/chat/")
    assert role_of(people.acme, "rival@globex.test") == "viewer"
    assert (await get(client, "/chat/"))[0] == 200


async def test_a_second_factor_is_still_asked_for(people: Platform, site: Site) -> None:
    """A16: the link and the password are one factor."""
    from allauth.mfa.models import Authenticator

    stranger = person("stranger@nowhere.test")

    def enrol() -> None:
        with scope.platform():
            Authenticator.objects.create(user_id=stranger.pk, type=Authenticator.Type.TOTP, data={"secret": "x"})

    in_thread(enrol)
    link = invite(people, stranger.email)
    client = site.client("acme")
    await get(client, link)
    assert await post(client, link, password=PASSWORD) == (302, "/login/code/")
    assert (await get(client, "/chat/"))[0] == 302, "no session yet"


async def test_somebody_else_is_signed_in(people: Platform, site: Site) -> None:
    link = invite(people)
    client = await site.signed_in("member")
    status, page = await get(client, link)
    assert status == 200
    assert "You are signed in as member@acme.test, but this invitation is for new@person.test." in page
    status, page = await post(client, link, name="New", password=CHOSEN)
    assert status == 409
    assert (opened(people), role_of(people.acme, "member@acme.test")) == ([NEW], "member")
    assert f'name="next" value="{link}"' in page
    assert await post(client, "/logout/", next=link) == (302, link)
    status, page = await get(client, link)
    assert "Choose a password" in page
    assert len(events(people.acme, "session.ended")) == 1


async def test_who_is_a_member_meanwhile_goes_on(people: Platform, site: Site) -> None:
    link = invite(people, "late@acme.test", "viewer")
    join(people.acme, "late@acme.test", "admin")
    client = await site.signed_in("late")
    assert "a member already" in (await get(client, link))[1]
    assert await post(client, link) == (302, "/chat/")
    assert (opened(people), role_of(people.acme, "late@acme.test")) == ([], "admin")


async def test_links_that_are_no_good(people: Platform, site: Site) -> None:
    """A15: replayed, expired, of another tenant, made up: the same words."""
    link = invite(people)
    pages = set()
    for slug, path in (("globex", link), ("acme", "/invitations/made-up/"), ("acme", f"/invitations/{'x' * 3000}/")):
        status, page = await get(site.client(slug), path)
        assert status == 404
        assert "This link was used already, has expired, or is not complete." in page
        pages.add(re.sub(r"\s*·.*</title>", "", re.sub(r'value="[^"]*"', "", page)).replace(path, ""))
    within(people.acme, lambda: Invitation.objects.update(expires_at=clock.now()))
    assert (await get(site.client("acme"), link))[0] == 404
    assert (await get(site.client(), link))[0] == 404, "nor on the platform's host"


async def test_looking_at_links_is_limited(people: Platform, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    few = dataclasses.replace(invitations.PER_PARTY, rate=5, period=3600.0)  # so that a slow machine wins none back
    monkeypatch.setattr(invitations, "PER_PARTY", few)
    client = site.client("acme")
    for _ in range(few.rate):
        assert (await get(client, "/invitations/made-up/"))[0] == 404
    async with client.get("/invitations/made-up/") as answer:
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) >= 1


async def test_the_page_is_kept_by_nobody(people: Platform, site: Site) -> None:
    async with site.client("acme").get(invite(people)) as answer:
        assert "no-store" in answer.headers["Cache-Control"]
        assert answer.headers["Referrer-Policy"] == "same-origin"


async def test_an_operator_who_acts_as_somebody_only_looks(people: Platform) -> None:
    """A67: also below the pages."""
    from dataclasses import replace

    from accounts import members
    from tests.accounts.people import refusal

    acting = replace(as_(people.acme, "owner@acme.test"), impersonator=uuid.uuid4())
    target = person("member@acme.test").pk
    for work in (
        lambda: members.member_leave(actor=acting),
        lambda: members.member_remove(actor=acting, user_id=target),
        lambda: members.owner_transfer(actor=acting, user_id=target),
        lambda: invitations.invitation_create(actor=acting, email=NEW, role="viewer"),
    ):
        assert refusal(lambda work=work: within(people.acme, work)) == "impersonation_forbids"
