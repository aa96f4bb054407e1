"""What a plan's number of people means: members and open invitations have a place each."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import invitations, members
from accounts.models import Invitation, Membership, Role, Session
from core import clock
from tenants import scope
from tenants.models import Plan, Tenant
from tests.accounts.people import as_, at_once, bound, events, people, person, refusal, role_of, within
from tests.conftest import CAST, Platform, in_thread

__all__ = ["people"]
OWNER, VIEWER = "owner@acme.test", "viewer@acme.test"


@pytest.fixture
def plan_of(people: Platform) -> Any:
    """`plan_of(7)`: acme's plan allows seven people, for the test."""

    def set_plan(slug: str) -> None:
        with scope.platform():
            Tenant.objects.filter(pk=people.acme.id).update(plan_id=slug)

    def allow(number: int | None) -> None:
        def make() -> None:
            with scope.platform():
                Plan.objects.update_or_create(slug="small", defaults={"name": "Small", "max_users": number})
            set_plan("small")

        in_thread(make)

    yield allow
    in_thread(lambda: set_plan("pro"))

    def drop() -> None:
        with scope.platform():
            Plan.objects.filter(slug="small").delete()

    in_thread(drop)


def test_members_and_open_invitations_have_a_place_each(people: Platform, plan_of: Any) -> None:
    plan_of(len(CAST) + 2)
    owner = as_(people.acme, OWNER)

    def invite(email: str) -> Any:
        return within(people.acme, invitations.invitation_create, actor=owner, email=email, role="member")

    first = invite("a@new.test")
    invite("b@new.test")
    assert refusal(lambda: invite("c@new.test")) == "plan_limit_reached"
    within(people.acme, invitations.invitation_revoke, actor=owner, invitation_id=first.pk)
    third = invite("c@new.test")

    def expire() -> None:
        Invitation.objects.filter(pk=third.pk).update(expires_at=clock.now())

    within(people.acme, expire)
    invite("d@new.test")  # one that is too old has no place any more,
    again = lambda: within(people.acme, invitations.invitation_resend, actor=owner, invitation_id=third.pk)  # noqa: E731
    assert refusal(again) == "plan_limit_reached"  # and needs one to be sent again
    within(people.acme, members.member_remove, actor=owner, user_id=person(VIEWER).pk)
    assert again().pk == third.pk


def test_the_last_place_is_given_once(people: Platform, plan_of: Any) -> None:
    plan_of(len(CAST) + 1)
    owner = as_(people.acme, OWNER)
    outcomes = at_once(
        *(
            bound(people.acme, invitations.invitation_create, actor=owner, email=f"p{n}@new.test", role="member")
            for n in range(6)
        )
    )
    assert outcomes.count("plan_limit_reached") == 5, outcomes
    assert within(people.acme, Invitation.objects.count) == 1


def test_a_plan_that_shrank_lets_nobody_more_in(people: Platform, plan_of: Any) -> None:
    plan_of(3)

    def enter() -> None:
        with scope.bind(people.acme), members.changing():
            members.member_join(user=person("stranger@nowhere.test"), role=Role.MEMBER, by="test")

    assert refusal(lambda: in_thread(enter)) == "plan_limit_reached"
    plan_of(None)
    in_thread(enter)
    assert role_of(people.acme, "stranger@nowhere.test") == "member"
    in_thread(enter)  # who is one already stays as they are

    def count() -> int:
        return Membership.objects.filter(user__email="stranger@nowhere.test").count()

    assert within(people.acme, count) == 1
    assert len(events(people.acme, "member.joined")) == 1
    assert within(people.acme, Session.objects.count) == 0
