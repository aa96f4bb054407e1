"""Roles, removal, leaving, and handing a tenant over (A14, A23, A4)."""

from __future__ import annotations

import itertools
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import invitations, keys, members, services
from accounts.models import ApiKey, Invitation, OneTimeCode, RefreshFamily, User
from accounts.selectors import actor_of_user
from accounts.sessions import SessionStore
from core import clock
from core.errors import PaasError
from tenants import scope
from tenants.models import Tenant
from tests.accounts.people import as_, at_once, bound, events, join, people, person, refusal, role_of, within
from tests.conftest import CAST, Platform, in_thread

__all__ = ["people"]
ACTS = ("leave", "remove", "transfer", *CAST.values())
OWNER, ADMIN, MEMBER, VIEWER = (f"{name}@acme.test" for name in CAST)


def change(db: Platform, who: str, whom: str, role: str) -> Any:
    return within(db.acme, members.member_role_change, actor=as_(db.acme, who), user_id=person(whom).pk, role=role)


def remove(db: Platform, who: str, whom: str, **options: Any) -> Any:
    return within(db.acme, members.member_remove, actor=as_(db.acme, who), user_id=person(whom).pk, **options)


# --- roles ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", list(CAST))
@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(CAST.values(), 2)))
def test_who_may_give_which_role(people: Platform, who: str, before: str, after: str) -> None:
    """Admins manage everybody but owners; only owners make and unmake owners; others nobody."""
    join(people.acme, "other@acme.test", before)
    allowed = who == "owner" or (who == "admin" and "owner" not in (before, after))
    if allowed:
        change(people, f"{who}@acme.test", "other@acme.test", after)
    else:
        assert refusal(lambda: change(people, f"{who}@acme.test", "other@acme.test", after)) == "permission_denied"
    assert role_of(people.acme, "other@acme.test") == (after if allowed else before)
    rows = events(people.acme, "member.role_changed")
    assert [(row.actor, row.target, row.data) for row in rows] == (
        [
            (
                f"user:{person(f'{who}@acme.test').pk}",
                str(person("other@acme.test").pk),
                {"role": after, "before": before},
            )
        ]
        if allowed
        else []
    )


@pytest.mark.parametrize("who", list(CAST))
@pytest.mark.parametrize("role", list(CAST.values()))
def test_nobody_raises_themselves(people: Platform, who: str, role: str) -> None:
    email, before = f"{who}@acme.test", CAST[who]
    join(people.acme, "second@acme.test", "owner")  # so that the owner is not the last
    try:
        change(people, email, email, role)
    except PaasError as error:
        assert error.code == "permission_denied"
    after = role_of(people.acme, email)
    assert members.RANK[str(after)] <= members.RANK[before]
    assert who in ("owner", "admin") or after == before


def test_a_role_that_is_none(people: Platform) -> None:
    for role in ("", "king", "OWNER", "key"):
        assert refusal(lambda role=role: change(people, OWNER, MEMBER, role)) == "validation_failed"
    assert change(people, OWNER, MEMBER, "member").role == "member"
    assert events(people.acme, "member.role_changed") == [], "nothing changed, nothing is written"


def test_an_actor_of_a_moment_ago_is_worth_what_the_person_is_now(people: Platform) -> None:
    admin = as_(people.acme, ADMIN)
    change(people, OWNER, ADMIN, "viewer")
    assert admin.role == "admin"
    for act in (
        lambda: within(people.acme, members.member_remove, actor=admin, user_id=person(MEMBER).pk),
        lambda: within(people.acme, members.member_role_change, actor=admin, user_id=admin.user_id, role="admin"),
        lambda: within(people.acme, invitations.invitation_create, actor=admin, email="x@y.test", role="admin"),
    ):
        assert refusal(act) == "permission_denied"


@pytest.mark.parametrize("work", [members.member_role_change, members.member_remove, members.owner_transfer])
def test_people_of_another_tenant_are_not_found(people: Platform, work: Any) -> None:
    more = {"role": "viewer"} if work is members.member_role_change else {}
    actor = as_(people.acme, OWNER)

    def attempt(user_id: uuid.UUID) -> Any:
        return within(people.acme, work, actor=actor, user_id=user_id, **more)

    assert refusal(lambda: attempt(person("rival@globex.test").pk)) == "not_found"
    assert refusal(lambda: attempt(person("stranger@nowhere.test").pk)) == "not_found"
    assert refusal(lambda: attempt(uuid.uuid4())) == "not_found"
    assert role_of(people.globex, "rival@globex.test") == "owner"


def test_a_key_manages_members_but_no_owners(people: Platform, api_key: Any) -> None:
    """A25: no program makes an owner, whatever its scopes."""
    token = api_key("acme", ["*"])

    async def load() -> Any:
        return await keys.actor_of_token(token, people.acme)

    import asyncio

    actor = asyncio.run(load())

    def act(work: Any, **given: Any) -> Any:
        return within(people.acme, work, actor=actor, **given)

    join(people.acme, "other@acme.test", "owner")
    assert act(members.member_role_change, user_id=person(MEMBER).pk, role="admin").role == "admin"
    for refused in (
        lambda: act(members.member_role_change, user_id=person(ADMIN).pk, role="owner"),
        lambda: act(members.member_role_change, user_id=person("other@acme.test").pk, role="viewer"),
        lambda: act(members.member_remove, user_id=person("other@acme.test").pk),
        lambda: act(members.owner_transfer, user_id=person(ADMIN).pk),
        lambda: act(invitations.invitation_create, email="x@y.test", role="owner"),
        lambda: act(members.member_leave),
        lambda: act(members.member_remove, user_id=person(MEMBER).pk, keep_keys=True),
    ):
        assert refusal(refused) == "permission_denied"
    act(members.member_remove, user_id=person(MEMBER).pk)
    assert role_of(people.acme, MEMBER) is None


# --- the last owner ------------------------------------------------------------------------------------


def test_the_last_owner_stays(people: Platform) -> None:
    actor = as_(people.acme, OWNER)
    join(people.acme, "second@acme.test", "owner")
    second = person("second@acme.test")
    with_scope = scope.platform

    def deactivate(active: bool) -> None:
        with with_scope():
            User.objects.filter(pk=second.pk).update(is_active=active)

    in_thread(lambda: deactivate(False))  # an owner who cannot sign in is none
    for act in (
        lambda: members.member_leave(actor=actor),
        lambda: members.member_remove(actor=actor, user_id=actor.user_id),
        lambda: members.member_role_change(actor=actor, user_id=actor.user_id, role="admin"),
    ):
        assert refusal(lambda act=act: within(people.acme, act)) == "last_owner"
    assert role_of(people.acme, OWNER) == "owner"
    assert events(people.acme, "member.left", "member.removed", "member.role_changed") == []
    in_thread(lambda: deactivate(True))
    within(people.acme, members.member_leave, actor=actor)
    assert role_of(people.acme, OWNER) is None


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("how", ["leave", "lower themselves", "lower each other", "remove each other", "mixed"])
def test_of_two_owners_at_once_one_stays(people: Platform, how: str, attempt: int) -> None:
    join(people.acme, "second@acme.test", "owner")
    one, two = as_(people.acme, OWNER), as_(people.acme, "second@acme.test")

    def act(actor: Any, other: Any, way: str) -> Any:
        if way == "leave":
            return bound(people.acme, members.member_leave, actor=actor)
        if way == "remove each other":
            return bound(people.acme, members.member_remove, actor=actor, user_id=other.user_id)
        whom = actor if way == "lower themselves" else other
        return bound(people.acme, members.member_role_change, actor=actor, user_id=whom.user_id, role="member")

    ways = ("leave", "lower each other") if how == "mixed" else (how, how)
    outcomes = at_once(act(one, two, ways[0]), act(two, one, ways[1]))
    # The second comes too late: as the last owner, or as an owner no more. (A member may leave, once lowered.)
    assert how == "mixed" or len([said for said in outcomes if said in ("last_owner", "permission_denied")]) == 1
    owners = [email for email in (OWNER, "second@acme.test") if role_of(people.acme, email) == "owner"]
    assert len(owners) == 1, outcomes


@pytest.mark.exhaustive
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    acts=st.lists(st.tuples(*[st.sampled_from([OWNER, ADMIN, MEMBER, VIEWER])] * 2, st.sampled_from(ACTS)), max_size=8)
)
def test_whatever_people_do_there_is_an_owner(people: Platform, acts: list[tuple[str, str, str]]) -> None:
    """And nobody who is no owner ever makes or unmakes one."""
    for name, role in CAST.items():
        join(people.acme, f"{name}@acme.test", role)

    def owners() -> set[str]:
        return {email for email in (OWNER, ADMIN, MEMBER, VIEWER) if role_of(people.acme, email) == "owner"}

    for who, whom, act in acts:
        before = owners()
        if role_of(people.acme, who) is None:
            continue
        try:
            if act == "leave":
                within(people.acme, members.member_leave, actor=as_(people.acme, who))
            elif act == "remove":
                remove(people, who, whom)
            elif act == "transfer":
                transfer(people, who, whom, step_down=True)
            else:
                change(people, who, whom, act)
        except PaasError as error:
            assert error.code in ("permission_denied", "last_owner", "not_found", "validation_failed")
        assert owners(), (who, whom, act)
        assert owners() == before or who in before, (who, whom, act)


def test_a_declaration_cannot_take_the_last_owner_either(people: Platform) -> None:
    def declare(email: str, role: str) -> str:
        with scope.platform():
            tenant = Tenant.objects.get(slug="acme")
            return services.member_set(tenant=tenant, email=email, role=role, password=None, actor="test")

    assert refusal(lambda: in_thread(lambda: declare(OWNER, "admin"))) == "last_owner"
    assert in_thread(lambda: declare(ADMIN, "owner")) == "updated"
    assert in_thread(lambda: declare(OWNER, "admin")) == "updated"


# --- handing over --------------------------------------------------------------------------------------


def transfer(db: Platform, who: str, whom: str, **options: Any) -> Any:
    return within(db.acme, members.owner_transfer, actor=as_(db.acme, who), user_id=person(whom).pk, **options)


def test_an_owner_hands_over(people: Platform) -> None:
    transfer(people, OWNER, VIEWER)
    assert (role_of(people.acme, OWNER), role_of(people.acme, VIEWER)) == ("owner", "owner")
    transfer(people, OWNER, MEMBER, step_down=True)
    assert (role_of(people.acme, OWNER), role_of(people.acme, MEMBER)) == ("admin", "owner")
    rows = [(row.target, row.data["stepped_down"]) for row in events(people.acme, "owner.transferred")]
    assert rows == [(str(person(VIEWER).pk), False), (str(person(MEMBER).pk), True)]
    assert refusal(lambda: transfer(people, OWNER, ADMIN)) == "permission_denied", "an owner no more"


def test_who_cannot_be_handed_to(people: Platform) -> None:
    assert refusal(lambda: transfer(people, OWNER, OWNER, step_down=True)) == "validation_failed"
    for who in (ADMIN, MEMBER, VIEWER):
        assert refusal(lambda who=who: transfer(people, who, who)) == "permission_denied"

    def deactivate() -> None:
        with scope.platform():
            User.objects.filter(email=VIEWER).update(is_active=False)

    in_thread(deactivate)
    assert refusal(lambda: transfer(people, OWNER, VIEWER, step_down=True)) == "validation_failed"
    assert role_of(people.acme, OWNER) == "owner"


def test_two_transfers_at_once_leave_an_owner(people: Platform) -> None:
    actor = as_(people.acme, OWNER)
    outcomes = at_once(
        *(
            bound(people.acme, members.owner_transfer, actor=actor, user_id=person(email).pk, step_down=True)
            for email in (ADMIN, MEMBER)
        )
    )
    assert outcomes.count("permission_denied") == 1, outcomes
    assert [role_of(people.acme, email) for email in (OWNER, ADMIN, MEMBER)].count("owner") == 1


# --- out -----------------------------------------------------------------------------------------------


def credentials(db: Platform, email: str) -> dict[str, Any]:
    """A session, a token family, a code and a key of the person in both tenants."""
    user = person(email)
    made: dict[str, Any] = {}

    def make(tenant: Any) -> None:
        with scope.platform_about(tenant):
            store = SessionStore()
            store["_auth_user_id"] = str(user.pk)
            store.create()
            family = RefreshFamily.objects.create(
                tenant_id=tenant.id,
                user=user,
                jti=uuid.uuid4(),
                issued_at=clock.now(),
                expires_at=clock.now() + timedelta(days=1),
            )
            OneTimeCode.objects.create(
                digest=uuid.uuid4().bytes,
                purpose="test",
                user=user,
                tenant_id=tenant.id,
                expires_at=clock.now() + timedelta(days=1),
            )
        with scope.bind(tenant):
            key, _ = keys.key_create(name=f"of {email}", scopes=["*"], actor="test", created_by=user.id)
            made[tenant.slug] = (store.session_key, family.pk, key.pk)

    for tenant in (db.acme, db.globex):
        in_thread(lambda tenant=tenant: make(tenant))
    return made


def alive(tenant: Any, made: Any, user_id: Any) -> tuple[bool, bool, bool, bool, bool]:
    def read() -> tuple[bool, bool, bool, bool, bool]:
        session_key, family, key = made
        with scope.bind(tenant):
            loaded = SessionStore(session_key).load()
            member = actor_of_user(user_id) is not None
        with scope.platform():
            return (
                bool(loaded),
                RefreshFamily.objects.filter(pk=family, revoked_at=None).exists(),
                ApiKey.objects.filter(pk=key, revoked_at=None).exists(),
                OneTimeCode.objects.filter(user_id=user_id, tenant_id=tenant.id).exists(),
                member,
            )

    found = in_thread(read)
    assert isinstance(found, tuple)
    return found


@pytest.mark.parametrize("way", ["removed", "left"])
def test_who_is_out_of_one_tenant_keeps_everything_in_the_other(people: Platform, way: str) -> None:
    """A14"""
    join(people.acme, "both@acme.test", "admin")
    user = join(people.globex, "both@acme.test")
    made = credentials(people, "both@acme.test")
    for tenant in (people.acme, people.globex):
        assert alive(tenant, made[tenant.slug], user.pk) == (True, True, True, True, True)
    if way == "removed":
        remove(people, ADMIN, "both@acme.test")
    else:
        within(people.acme, members.member_leave, actor=as_(people.acme, "both@acme.test"))
    assert alive(people.acme, made["acme"], user.pk) == (False, False, False, False, False)
    assert alive(people.globex, made["globex"], user.pk) == (True, True, True, True, True)
    assert person("both@acme.test").token_version == 0
    (row,) = events(people.acme, "member.removed", "member.left")
    assert (row.target, row.data["email"]) == (str(user.pk), "both@acme.test")
    assert len(events(people.acme, "api_key.revoked")) == 1


def test_keys_of_who_is_removed_can_be_kept(people: Platform) -> None:
    join(people.acme, "both@acme.test", "admin")
    user = join(people.globex, "both@acme.test")
    made = credentials(people, "both@acme.test")
    remove(people, OWNER, "both@acme.test", keep_keys=True)
    assert alive(people.acme, made["acme"], user.pk) == (False, False, True, False, False)

    def makers() -> list[Any]:
        with scope.platform():
            return list(ApiKey.objects.order_by("tenant__slug").values_list("created_by__email", flat=True))

    assert in_thread(makers) == [OWNER, "both@acme.test"]
    (row,) = events(people.acme, "member.removed")
    assert row.data["keys_kept"] == 1


def test_keys_of_who_is_deactivated_are_refused(people: Platform) -> None:
    """A23"""
    join(people.acme, "maker@acme.test", "admin")
    user = person("maker@acme.test")

    def make() -> str:
        with scope.bind(people.acme):
            return keys.key_create(name="theirs", scopes=["*"], actor="test", created_by=user.id)[1]

    token = in_thread(make)
    import asyncio

    async def use(tenant: Any) -> str:
        keys.forget_all()
        try:
            return (await keys.actor_of_token(token, tenant)).name
        except PaasError as error:
            return error.code

    def set_active(active: bool) -> None:
        with scope.platform():
            User.objects.filter(pk=user.pk).update(is_active=active)

    for tenant in (people.acme, None):
        in_thread(lambda: set_active(True))
        assert asyncio.run(use(tenant)) == "theirs"
        in_thread(lambda: set_active(False))
        assert asyncio.run(use(tenant)) == "invalid_api_key"


def test_who_may_remove_whom(people: Platform) -> None:
    for who, role in itertools.product(CAST, CAST.values()):
        join(people.acme, "other@acme.test", role)
        allowed = who == "owner" or (who == "admin" and role != "owner")
        if allowed:
            remove(people, f"{who}@acme.test", "other@acme.test")
        else:
            code = refusal(lambda who=who: remove(people, f"{who}@acme.test", "other@acme.test"))
            assert code == "permission_denied"
        assert role_of(people.acme, "other@acme.test") == (None if allowed else role)


def test_nothing_is_written_when_the_transaction_fails(people: Platform) -> None:
    """The audit row and what it tells of are one."""

    def attempt() -> None:
        with scope.bind(people.acme), pytest.raises(ZeroDivisionError), transaction.atomic():
            members.member_remove(actor=as_(people.acme, OWNER), user_id=person(MEMBER).pk)
            raise ZeroDivisionError

    in_thread(attempt)
    assert role_of(people.acme, MEMBER) == "member"
    assert events(people.acme, "member.removed") == []


def test_who_goes_leaves_no_door_behind(people: Platform) -> None:
    """Invitations of who is removed, or may not give such a role any more, are taken back."""
    join(people.acme, "busy@acme.test", "owner")
    busy = as_(people.acme, "busy@acme.test")
    for email, role in (("a@new.test", "owner"), ("b@new.test", "admin"), ("c@new.test", "viewer")):
        within(people.acme, invitations.invitation_create, actor=busy, email=email, role=role)

    def open_() -> list[str]:
        return sorted(Invitation.objects.filter(accepted_at=None, revoked_at=None).values_list("email", flat=True))

    change(people, OWNER, "busy@acme.test", "admin")
    assert within(people.acme, open_) == ["b@new.test", "c@new.test"]
    remove(people, OWNER, "busy@acme.test")
    assert within(people.acme, open_) == []
    written = [row.data["email"] for row in events(people.acme, "invitation.revoked")]
    assert (written[0], sorted(written)) == ("a@new.test", ["a@new.test", "b@new.test", "c@new.test"])


def test_who_goes_leaves_no_door_open_by_a_key_or_to_themselves(people: Platform) -> None:
    """Invitations that their keys sent, and those to their own address, end too; who leaves goes as who is removed."""
    for way in ("remove", "leave"):
        email = f"{way}@acme.test"
        busy = join(people.acme, email, "admin")
        actor = as_(people.acme, email)

        def invite(email: str, actor: Any, user: User) -> None:
            key, _ = keys.key_create(name=email, scopes=["admin:members"], created_by=user.pk, actor="test")
            by_key = keys.actor_of_key(key.pk)
            assert by_key is not None
            invitations.invitation_create(actor=by_key, email=f"key-{email}", role="admin")
            invitations.invitation_create(actor=actor, email=f"own-{email}", role="member")
            Invitation.objects.filter(email=f"own-{email}").update(invited_by_id=None, email=email)

        within(people.acme, invite, email, actor, busy)
        if way == "remove":
            remove(people, OWNER, email)
        else:
            within(people.acme, members.member_leave, actor=actor)
        left = within(people.acme, lambda: list(Invitation.objects.filter(revoked_at=None).values_list("email")))
        assert left == []
