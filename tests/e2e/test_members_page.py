"""Inviting, changing roles and removing, in a real browser, by mouse and by keyboard."""

from __future__ import annotations

from typing import Any

from accounts import invitations
from accounts.models import User
from tenants import scope
from tests.accounts.people import as_, join, letters, link_in, people, role_of, within
from tests.conftest import Platform, in_thread

__all__ = ["people"]


def fill(db: Platform) -> None:
    join(db.acme, "second@acme.test", "owner")

    def named() -> None:
        with scope.platform():
            User.objects.filter(email="member@acme.test").update(name="Margarete von Hohenstein-Wertheim")

    in_thread(named)
    owner = as_(db.acme, "owner@acme.test")
    for email, role in (
        ("very.long.address.of.somebody@subsidiary.example-company.test", "admin"),
        ("b@new.test", "viewer"),
    ):
        within(db.acme, invitations.invitation_create, actor=owner, email=email, role=role)


async def test_members(people: Platform, visit: Any) -> None:
    fill(people)
    visitor = await visit("owner")
    page = visitor.page
    for scheme, width, language in (("light", 1440, "en"), ("light", 1024, "zh-hans"), ("dark", 390, "zh-hans")):
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto(f"{visitor.url}/settings/members/")
        await visitor.open_menu()
        await page.locator(f"button[name=language][value={language}]").click()
        await page.locator("[data-email='member@acme.test'] summary").click()
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out"
        await page.set_viewport_size({"width": width, "height": 2400})
        await visitor.shot(f"members-{scheme}-{width}")
        await page.set_viewport_size({"width": width, "height": 800})
    await page.goto(f"{visitor.url}/settings/members/leave/")
    await visitor.shot("members-leave")
    await visitor.open_menu()
    await page.locator("button[name=language][value=en]").click()
    await page.goto(f"{visitor.url}/settings/members/")
    await page.locator("#id_emails").fill("new@person.test, member@acme.test")
    await visitor.at("invite").click()
    assert await page.locator(".field-error").inner_text() == "member@acme.test: This person is a member already."
    await visitor.shot("members-refused")
    # By keyboard: open the question, and answer it.
    await page.locator("[data-email='viewer@acme.test'] summary").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.get_by_text("has no access any more").wait_for()
    assert role_of(people.acme, "viewer@acme.test") is None


async def test_an_invitation_is_accepted(people: Platform, visit: Any) -> None:
    owner = as_(people.acme, "owner@acme.test")
    within(people.acme, invitations.invitation_create, actor=owner, email="new@person.test", role="member")
    visitor = await visit()
    page = visitor.page
    await page.goto(f"{visitor.url}/invitations/{link_in(letters()[-1])}/")
    await visitor.shot("invitation")
    await page.fill("input[name=name]", "New Person")
    await page.fill("input[name=password]", "another-long-password")
    await visitor.at("accept").click()
    await visitor.at("composer").wait_for()
    assert role_of(people.acme, "new@person.test") == "member"
