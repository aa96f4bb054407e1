"""Invitations: by mail, once, for their address and their tenant only (A15, A18)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import translation

from accounts import invitations, throttle
from accounts.models import AuditEvent, Invitation, User
from core import clock
from tenants import scope
from tenants.models import Tenant
from tests.accounts.people import (
    as_,
    at_once,
    bound,
    events,
    join,
    letters,
    link_in,
    people,
    person,
    refusal,
    role_of,
    within,
)
from tests.conftest import PASSWORD, Platform, in_thread

__all__ = ["people"]
NEW = "new@person.test"
CHOSEN = "another-long-password"


def invite(db: Platform, email: str = NEW, role: str = "member", who: str = "admin@acme.test") -> str:
    """The token of the link that was sent."""
    within(db.acme, invitations.invitation_create, actor=as_(db.acme, who), email=email, role=role)
    return link_in(letters(email.strip().lower())[-1])


def row(db: Platform, email: str = NEW) -> Invitation:
    found = within(db.acme, lambda: Invitation.objects.filter(email=email).first())
    assert isinstance(found, Invitation)
    return found


def accept_new(tenant: Any, token: str, name: str = "New Person", password: str = CHOSEN) -> Any:
    return within(tenant, invitations.invitation_accept_new, token=token, name=name, password=password)


def field_error(work: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        work()
    return caught.value.message_dict


# --- asked in ------------------------------------------------------------------------------------------


def test_a_letter_with_a_link_and_nothing_in_the_clear(people: Platform) -> None:
    token = invite(people, "  NEW@Person.test ")
    (letter,) = letters()
    assert (letter["to"], letter["subject"]) == (NEW, "You are invited to Acme")
    assert "admin@acme.test invites you" in letter["body"]
    assert f"http://acme.localhost:8000/invitations/{token}/" in letter["body"]
    found = row(people)
    assert (found.role, found.invited_by_id) == ("member", person("admin@acme.test").pk)
    assert timedelta(days=6, hours=23) < found.expires_at - clock.now() <= timedelta(days=7)
    assert token.encode() not in bytes(found.digest)
    (event,) = events(people.acme, "invitation.created")
    assert event.actor == f"user:{person('admin@acme.test').pk}"
    assert event.data == {"email": NEW, "role": "member"}
    assert token not in str(within(people.acme, lambda: list(AuditEvent.objects.values_list("data", flat=True))))


def test_the_letter_speaks_the_inviters_language(people: Platform) -> None:
    def speak(language: str) -> None:
        with scope.platform():
            User.objects.filter(email="admin@acme.test").update(language=language)

    in_thread(lambda: speak("zh-hans"))
    try:
        invite(people)
    finally:
        in_thread(lambda: speak(""))

    def with_page_in_chinese() -> None:
        with translation.override("zh-hans"):
            invitations.invitation_create(actor=as_(people.acme, "owner@acme.test"), email="b@new.test", role="viewer")

    within(people.acme, with_page_in_chinese)
    for letter in letters():
        assert letter["subject"] == "邀请你加入 Acme", letter
        assert "7 天" in letter["body"]


def test_a_name_with_an_address_in_it_is_not_repeated(people: Platform) -> None:
    """The letter goes to somebody who never asked for one."""

    def rename(name: str) -> None:
        with scope.platform():
            Tenant.objects.filter(pk=people.acme.id).update(name=name)

    def send() -> None:
        tenant = Tenant.objects.get(pk=people.acme.id).ref()
        with scope.bind(tenant):
            actor = as_(tenant, "owner@acme.test")
            invitations.invitation_create(actor=actor, email=NEW, role="viewer")

    in_thread(lambda: rename("You won: https://evil.test/"))
    try:
        within(people.acme, send)
    finally:
        in_thread(lambda: rename("Acme"))
    (letter,) = letters()
    assert letter["subject"] == "You are invited to acme"
    assert "evil" not in letter["body"]


def test_whom_to_invite_makes_no_sense(people: Platform) -> None:
    actor = as_(people.acme, "owner@acme.test")

    def ask(email: str, role: str = "member") -> Any:
        return within(people.acme, invitations.invitation_create, actor=actor, email=email, role=role)

    for email in (
        "",
        "nobody",
        "a@b",
        "a b@c.test",
        "x" * 250 + "@new.test",
        "a@new.test\nBcc: b@new.test",
        "\0@x.test",
    ):
        assert list(field_error(lambda email=email: ask(email))) == ["email"]
    assert field_error(lambda: ask("Member@ACME.test")) == {"email": ["This person is a member already."]}
    ask(NEW)
    assert field_error(lambda: ask("NEW@person.TEST")) == {
        "email": ["This address was invited already. Send the invitation again."]
    }
    for role in ("", "king", "key"):
        assert refusal(lambda role=role: ask("b@new.test", role)) == "validation_failed"
    assert len(letters()) == 1


def test_who_may_invite_as_what(people: Platform) -> None:
    for who in ("owner", "admin", "member", "viewer"):
        for role in ("owner", "admin", "member", "viewer"):
            email = f"{who}-{role}@new.test"
            if who == "owner" or (who == "admin" and role != "owner"):
                invite(people, email, role, f"{who}@acme.test")
            else:
                code = refusal(lambda: invite(people, email, role, f"{who}@acme.test"))  # noqa: B023
                assert code == "permission_denied"
    assert len(letters()) == 7


def test_the_known_and_the_unknown_get_the_same_letter(people: Platform) -> None:
    """A18: whoever invites learns nothing about accounts elsewhere, nor does who reads over a shoulder."""
    bodies = []
    for email in (NEW, "rival@globex.test", "stranger@nowhere.test"):
        token = invite(people, email)
        bodies.append(letters(email)[-1]["body"].replace(token, "-"))
    assert len(set(bodies)) == 1


@pytest.mark.exhaustive
def test_letters_are_limited(people: Platform) -> None:
    token = invite(people)
    actor, found = as_(people.acme, "admin@acme.test"), row(people)

    def again() -> Any:
        return within(people.acme, invitations.invitation_resend, actor=actor, invitation_id=found.pk)

    for _ in range(invitations.PER_MAILBOX - 1):
        again()
    assert refusal(again) == "rate_limited"
    assert refusal(lambda: within(people.acme, invitations.invitation_of, token)) == "link_invalid"

    def ask(number: int) -> Any:
        return within(
            people.acme, invitations.invitation_create, actor=actor, email=f"n{number}@new.test", role="viewer"
        )

    for number in range(invitations.PER_TENANT - invitations.PER_MAILBOX):
        ask(number)
    assert refusal(lambda: ask(1000)) == "rate_limited"
    rival = as_(people.globex, "rival@globex.test")
    within(people.globex, invitations.invitation_create, actor=rival, email=NEW, role="viewer")  # a tenant's own limit


# --- again, and taken back -----------------------------------------------------------------------------


def test_sent_again_the_former_link_is_void(people: Platform) -> None:
    first = invite(people)
    within(people.acme, lambda: Invitation.objects.update(expires_at=clock.now() + timedelta(hours=1)))
    actor = as_(people.acme, "owner@acme.test")
    within(people.acme, invitations.invitation_resend, actor=actor, invitation_id=row(people).pk)
    second = link_in(letters(NEW)[-1])
    assert first != second
    assert refusal(lambda: within(people.acme, invitations.invitation_of, first)) == "link_invalid"
    assert within(people.acme, invitations.invitation_of, second).email == NEW
    assert row(people).expires_at - clock.now() > timedelta(days=6)
    (event,) = events(people.acme, "invitation.sent")
    assert event.data == {"email": NEW}


def test_taken_back(people: Platform) -> None:
    token = invite(people)
    actor = as_(people.acme, "admin@acme.test")
    found = row(people)
    within(people.acme, invitations.invitation_revoke, actor=actor, invitation_id=found.pk)
    assert refusal(lambda: within(people.acme, invitations.invitation_of, token)) == "link_invalid"
    assert refusal(lambda: accept_new(people.acme, token)) == "link_invalid"
    for work in (invitations.invitation_revoke, invitations.invitation_resend):
        assert refusal(lambda work=work: within(people.acme, work, actor=actor, invitation_id=found.pk)) == "not_found"
    assert len(events(people.acme, "invitation.revoked")) == 1
    invite(people)  # and asked again


def test_an_admin_cannot_send_an_owners_invitation_again(people: Platform) -> None:
    invite(people, role="owner", who="owner@acme.test")
    actor = as_(people.acme, "admin@acme.test")
    code = refusal(
        lambda: within(people.acme, invitations.invitation_resend, actor=actor, invitation_id=row(people).pk)
    )
    assert code == "permission_denied"


def test_invitations_of_another_tenant_are_not_found(people: Platform) -> None:
    token = invite(people)
    rival = as_(people.globex, "rival@globex.test")
    for wanted in (row(people).pk, uuid.uuid4()):
        for work in (invitations.invitation_revoke, invitations.invitation_resend):
            code = refusal(
                lambda work=work, wanted=wanted: within(people.globex, work, actor=rival, invitation_id=wanted)
            )
            assert code == "not_found"
    assert within(people.acme, invitations.invitation_of, token).email == NEW


# --- accepted ------------------------------------------------------------------------------------------


def test_somebody_new_joins_once(people: Platform) -> None:
    token = invite(people, role="admin")
    user = accept_new(people.acme, token)
    assert (user.email, user.name, role_of(people.acme, NEW)) == (NEW, "New Person", "admin")
    stored = person(NEW)
    assert stored.check_password(CHOSEN)
    assert (stored.is_staff, stored.is_superuser) == (False, False)
    assert row(people).accepted_at is not None
    rows = events(people.acme, "invitation.accepted", "member.joined")
    assert {event.action for event in rows} == {"invitation.accepted", "member.joined"}
    assert {event.actor for event in rows} == {f"user:{user.pk}"}
    assert refusal(lambda: accept_new(people.acme, token)) == "link_invalid"
    assert refusal(lambda: within(people.acme, invitations.invitation_of, token)) == "link_invalid"


def test_a_link_is_good_in_its_own_tenant_only(people: Platform) -> None:
    """A15: swapped between tenants."""
    token = invite(people)
    assert refusal(lambda: within(people.globex, invitations.invitation_of, token)) == "link_invalid"
    assert refusal(lambda: accept_new(people.globex, token)) == "link_invalid"
    assert not in_thread(lambda: _exists(NEW))
    accept_new(people.acme, token)


def _exists(email: str) -> bool:
    with scope.platform():
        return User.objects.filter(email=email).exists()


def test_a_link_is_good_for_its_own_address_only(people: Platform) -> None:
    """A15: swapped between users."""
    token = invite(people, "stranger@nowhere.test", "admin")
    other = person("rival@globex.test")
    wrong = lambda: within(people.acme, invitations.invitation_accept_known, token=token, user=other)  # noqa: E731
    assert refusal(wrong) == "link_invalid"
    assert role_of(people.acme, other.email) is None
    # A person whose address is another by now.
    moved = person("stranger@nowhere.test")
    in_thread(lambda: _rename("stranger@nowhere.test", "moved@nowhere.test"))
    try:
        stale = lambda: within(people.acme, invitations.invitation_accept_known, token=token, user=moved)  # noqa: E731
        assert refusal(stale) == "link_invalid"
    finally:
        in_thread(lambda: _rename("moved@nowhere.test", "stranger@nowhere.test"))
    within(people.acme, invitations.invitation_accept_known, token=token, user=moved)
    assert role_of(people.acme, "stranger@nowhere.test") == "admin"


def _rename(before: str, after: str) -> None:
    with scope.platform():
        User.objects.filter(email=before).update(email=after)


def test_links_that_are_too_old_or_made_up(people: Platform) -> None:
    token = invite(people)
    within(people.acme, lambda: Invitation.objects.update(expires_at=clock.now()))
    for asked in (token, "", "x", "\0", token[:-1], token + "x", "💥" * 50):
        assert refusal(lambda asked=asked: within(people.acme, invitations.invitation_of, asked)) == "link_invalid"
        assert refusal(lambda asked=asked: accept_new(people.acme, asked)) == "link_invalid"
    assert not in_thread(lambda: _exists(NEW))
    invite(people)  # who did not come in time can be asked again


@pytest.mark.parametrize("password", ["", "short", "password1234"])
def test_a_poor_password_uses_nothing_up(people: Platform, password: str) -> None:
    token = invite(people)
    with pytest.raises(ValidationError):
        accept_new(people.acme, token, password=password)
    assert not in_thread(lambda: _exists(NEW))
    accept_new(people.acme, token, password="密" * 200)
    assert person(NEW).check_password("密" * 200)


def test_a_known_person_is_known_by_the_password(people: Platform) -> None:
    token = invite(people, "rival@globex.test", "viewer")

    def prove(password: str) -> Any:
        return within(people.acme, invitations.person_proven, token=token, password=password)

    for password in ("", "wrong-password", PASSWORD + " "):
        assert refusal(lambda password=password: prove(password)) == "invalid_credentials"
    assert role_of(people.acme, "rival@globex.test") is None
    user = prove(PASSWORD)
    within(people.acme, invitations.invitation_accept_known, token=token, user=user)
    assert (role_of(people.acme, user.email), role_of(people.globex, user.email)) == ("viewer", "owner")
    assert refusal(lambda: prove(PASSWORD)) == "link_invalid"


def test_guessing_a_password_is_slowed_down(people: Platform) -> None:
    """A17: with the tries of every other door."""
    token = invite(people, "rival@globex.test")

    def guess() -> str:
        return refusal(lambda: within(people.acme, invitations.person_proven, token=token, password="wrong-password"))

    rate = throttle.PER_PAIR[0]
    assert [guess() for _ in range(rate + 2)] == ["invalid_credentials"] * rate + ["rate_limited"] * 2


def test_who_was_deactivated_does_not_come_in(people: Platform) -> None:
    token = invite(people, "stranger@nowhere.test")

    def set_active(active: bool) -> None:
        with scope.platform():
            User.objects.filter(email="stranger@nowhere.test").update(is_active=active)

    in_thread(lambda: set_active(False))
    try:
        stranger = person("stranger@nowhere.test")
        code = refusal(lambda: within(people.acme, invitations.person_proven, token=token, password=PASSWORD))
        assert code == "invalid_credentials"
        code = refusal(lambda: within(people.acme, invitations.invitation_accept_known, token=token, user=stranger))
        assert code == "link_invalid"
    finally:
        in_thread(lambda: set_active(True))


def test_a_known_persons_password_is_not_for_the_link_to_set(people: Platform) -> None:
    token = invite(people, "rival@globex.test")
    assert refusal(lambda: accept_new(people.acme, token)) == "link_invalid"
    assert person("rival@globex.test").check_password(PASSWORD)
    assert role_of(people.acme, "rival@globex.test") is None


def test_who_is_a_member_already_keeps_the_role(people: Platform) -> None:
    token = invite(people, "stranger@nowhere.test", "viewer")
    user = join(people.acme, "stranger@nowhere.test", "admin")
    within(people.acme, invitations.invitation_accept_known, token=token, user=user)
    assert role_of(people.acme, "stranger@nowhere.test") == "admin"
    assert refusal(lambda: within(people.acme, invitations.invitation_of, token)) == "link_invalid"


# --- raced ---------------------------------------------------------------------------------------------


def test_accepted_twice_at_once_is_accepted_once(people: Platform) -> None:
    """A15: raced."""
    token = invite(people)
    outcomes = at_once(
        *(
            bound(people.acme, invitations.invitation_accept_new, token=token, name=f"N{n}", password=f"{CHOSEN}{n}")
            for n in range(4)
        )
    )
    assert outcomes.count("link_invalid") == 3, outcomes
    (won,) = [outcome for outcome in outcomes if outcome != "link_invalid"]
    assert person(NEW).name == won.name
    assert len(events(people.acme, "member.joined")) == 1


def test_a_known_person_who_clicks_twice_joins_once(people: Platform) -> None:
    token, user = invite(people, "stranger@nowhere.test"), person("stranger@nowhere.test")
    outcomes = at_once(
        *(bound(people.acme, invitations.invitation_accept_known, token=token, user=user) for _ in range(4))
    )
    assert sorted(map(str, outcomes)) == ["None", "link_invalid", "link_invalid", "link_invalid"]
    assert len(events(people.acme, "member.joined")) == 1


def test_accepted_while_it_is_taken_back(people: Platform) -> None:
    token, user = invite(people, "stranger@nowhere.test"), person("stranger@nowhere.test")
    actor, found = as_(people.acme, "owner@acme.test"), row(people, "stranger@nowhere.test")
    outcomes = at_once(
        bound(people.acme, invitations.invitation_accept_known, token=token, user=user),
        bound(people.acme, invitations.invitation_revoke, actor=actor, invitation_id=found.pk),
    )
    assert outcomes in ([None, "not_found"], ["link_invalid", None])
    assert (role_of(people.acme, user.email) is not None) == (outcomes == [None, "not_found"])


def test_one_address_invited_at_once_is_invited_once(people: Platform) -> None:
    def ask(actor: Any) -> str:
        try:
            invitations.invitation_create(actor=actor, email=NEW, role="viewer")
        except ValidationError:
            return "refused"
        return "sent"

    actor = as_(people.acme, "owner@acme.test")
    outcomes = at_once(*(bound(people.acme, ask, actor) for _ in range(4)))
    assert sorted(outcomes) == ["refused", "refused", "refused", "sent"]
    assert len(letters(NEW)) == 1
