"""Stored keys: children, who made them, where they are used from, when they were last used (A23, A25)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import key_selectors, key_use, keys
from accounts.actors import Actor
from accounts.models import ApiKey, AuditEvent, Membership, User
from core import clock
from core.errors import PaasError
from tenants import client, scope
from tenants.client import Client
from tests.conftest import Platform, in_thread

BOTH = ["chat:read", "chat:write"]


def make(name: str, scopes: Any = ("*",), **fields: Any) -> tuple[ApiKey, str]:
    return keys.key_create(name=name, scopes=scopes, actor="test", **fields)


def right(key: ApiKey) -> Actor | None:
    return keys.actor_of_key(key.pk)


@pytest.fixture
def bound(db: Platform) -> Any:
    with scope.bind(db.acme):
        yield db


@pytest.fixture
def maker(db: Platform) -> Any:
    """An admin of acme of their own, and of globex a member."""
    with scope.platform():
        user = User.objects.create_user("keymaker@acme.test", "long enough words")
        Membership.objects.create(tenant_id=db.acme.id, user=user, role="admin")
        Membership.objects.create(tenant_id=db.globex.id, user=user, role="member")
    yield user
    with scope.platform():
        User.objects.filter(pk=user.pk).delete()


def test_a_child_has_no_more_than_the_keys_above(bound: Platform) -> None:
    parent, _ = make("parent", BOTH, agents=["assistant"], networks=["10.0.0.0/8"], tokens_per_month=1000)
    for field, more in (
        ("scopes", ["chat:read", "usage:read"]),
        ("scopes", ["*"]),
        ("scopes", ["chat:*", "admin:keys"]),
        ("agents", ["assistant", "other"]),
        ("networks", ["10.0.0.0/8", "8.8.8.8"]),
        ("networks", ["0.0.0.0/0"]),
        ("tokens_per_month", 1001),
    ):
        with pytest.raises(keys.TooWide) as error:
            make("child", **({"scopes": ["chat:read"], "parent": parent} | {field: more}))
        assert (error.value.code, error.value.status, set(error.value.fields)) == ("permission_denied", 403, {field})
    assert ApiKey.objects.count() == 1
    child, _ = make("child", ["chat:read"], parent=parent, agents=["assistant"], networks=["10.1.0.0/16"])
    with client.serving(Client("10.1.2.3")):
        actor = right(child)
    assert actor is not None
    assert (actor.actions, actor.agents) == ({"chat:read"}, {"assistant"})
    assert actor.root_key_id == parent.pk
    with pytest.raises(keys.TooWide):
        keys.key_update(key=child, actor="test", scopes=BOTH + ["usage:read"])
    keys.key_update(key=child, actor="test", scopes=BOTH)


def test_who_renames_a_key_does_not_widen_it(bound: Platform) -> None:
    """A25: of two changes at once the later one is of the key as the first left it, and none brings a key back."""
    key, _ = make("shared", BOTH)
    seen = ApiKey.objects.get(pk=key.pk)
    keys.key_update(key=key, actor="test", scopes=["chat:read"], networks=["10.0.0.0/8"])
    assert keys.key_update(key=seen, actor="test", name="renamed")
    now = ApiKey.objects.get(pk=key.pk)
    assert (now.name, now.scopes, now.allowed_networks) == ("renamed", ["chat:read"], ["10.0.0.0/8"])
    keys.key_revoke(key=key, actor="test")
    for change in (
        lambda: keys.key_update(key=seen, actor="test", name="x"),
        lambda: keys.key_rotate(key=seen, actor="test"),
    ):
        with pytest.raises(PaasError) as error:
            change()
        assert error.value.code == "not_found"


def test_a_parent_that_is_narrowed_takes_it_from_its_children(bound: Platform) -> None:
    parent, _ = make("parent")
    child, _ = make("child", BOTH, parent=parent)
    grandchild, _ = make("grandchild", BOTH, parent=child)
    keys.key_update(key=parent, actor="test", scopes=["chat:read"], agents=["assistant"], networks=["10.0.0.0/8"])
    for key in (child, grandchild):
        with client.serving(Client("10.0.0.1")):
            actor = right(key)
            assert actor is not None
            assert (actor.actions, actor.agents) == ({"chat:read"}, {"assistant"})
        with client.serving(Client("192.0.2.1")), pytest.raises(PaasError) as error:
            right(key)
        assert error.value.code == "address_not_allowed"
    keys.key_update(key=parent, actor="test", scopes=["*"])
    with client.serving(Client("10.0.0.1")):
        assert right(grandchild).actions == set(BOTH)  # type: ignore[union-attr]  # and not what the parent has


def test_three_deep_and_no_deeper(bound: Platform) -> None:
    first, _ = make("1")
    second, _ = make("2", parent=first)
    third, _ = make("3", parent=second)
    assert right(third) is not None
    with pytest.raises(keys.TooWide) as error:
        make("4", parent=third)
    assert set(error.value.fields) == {"parent"}


def test_revoking_ends_all_that_is_below(bound: Platform) -> None:
    """At once, each with its row in the audit log; a sibling lives on."""
    top, _ = make("top")
    middle, _ = make("middle", parent=top)
    low, _ = make("low", parent=middle)
    sibling, _ = make("sibling", parent=top)
    keys.key_revoke(key=middle, actor="test")
    assert (right(middle), right(low)) == (None, None)
    assert right(sibling) is not None
    revoked = AuditEvent.objects.filter(action="api_key.revoked")
    assert {(one.data["name"], one.data.get("with")) for one in revoked} == {("middle", None), ("low", str(middle.pk))}
    with pytest.raises(keys.TooWide):
        make("new", parent=middle)


def test_a_key_below_a_revoked_one_is_worth_nothing_even_if_its_own_row_says_otherwise(bound: Platform) -> None:
    top, _ = make("top")
    low, token = make("low", parent=top)
    ApiKey.objects.filter(pk=top.pk).update(revoked_at=clock.now())
    assert right(low) is None
    assert keys._lookup([keys.digest(token)]) is None


def test_a_parents_end_is_its_childrens(bound: Platform) -> None:
    soon = clock.now() + timedelta(hours=1)
    parent, _ = make("parent", expires_at=soon)
    with pytest.raises(keys.TooWide) as error:
        make("child", parent=parent, expires_at=soon + timedelta(seconds=1))
    assert set(error.value.fields) == {"expires_at"}
    child, token = make("child", parent=parent)
    assert right(child) is not None
    ApiKey.objects.filter(pk=parent.pk).update(expires_at=clock.now())
    assert right(child) is None
    found = keys._lookup([keys.digest(token)])
    assert found is not None
    assert found.role == "expired"


@pytest.mark.parametrize("below", [False, True])
def test_a_key_works_while_the_person_who_made_it_is_an_active_member(db: Platform, maker: User, below: bool) -> None:
    """A23: also the keys that were made below it."""
    with scope.bind(db.acme):
        key, token = make("of a person", created_by=maker.pk)
        if below:
            key, token = make("below", parent=key)

    def seen() -> Actor | None:
        found = []
        for where in (scope.binding_for(db.acme), scope.PLATFORM):  # the tenant's host and the platform's
            with scope.use(where):
                found.append(keys._lookup([keys.digest(token)]))
        assert (found[0] is None) == (found[1] is None)
        return found[0]

    assert seen() is not None
    with scope.platform():
        User.objects.filter(pk=maker.pk).update(is_active=False)
    assert seen() is None
    with scope.platform():
        User.objects.filter(pk=maker.pk).update(is_active=True)
        Membership.objects.filter(user=maker, tenant_id=db.acme.id).update(role="member")
    demoted = seen()
    assert demoted is not None
    assert demoted.actions == {"chat:read", "chat:write", "agents:execute", "knowledge:read"}, "no more than they may"
    with scope.platform():
        Membership.objects.filter(user=maker, tenant_id=db.acme.id).delete()
    assert seen() is None, "a member of another workspace is none of this one"
    with scope.platform():
        User.objects.get(pk=maker.pk).delete()
    assert seen() is None, "a key does not outlive its person by becoming nobody's"


def test_a_key_of_nobody_lives_on(bound: Platform) -> None:
    """What `manage.py apply` makes belongs to no person."""
    key, _ = make("of the file")
    assert key.created_by_id is None
    assert right(key) is not None


async def test_where_it_comes_from(db: Platform, api_key: Callable[..., str]) -> None:
    """A23: also while the key is remembered, which is the same for all addresses."""
    token = api_key("acme", networks=["203.0.113.0/24", "2001:db8::/32"])

    async def code(address: str) -> str:
        with client.serving(Client(address)):
            try:
                return (await keys.actor_of_token(token, db.acme)).tenant.slug
            except PaasError as error:
                return error.code

    for _ in range(2):
        assert await code("203.0.113.9") == "acme"
        assert await code("203.0.114.9") == "address_not_allowed"
        assert await code("2001:db8::1") == "acme"
        assert await code("") == "address_not_allowed"
    assert len(keys._known) == 1


def test_networks_are_kept_in_one_form(bound: Platform) -> None:
    key, _ = make("k", networks=[" 203.0.113.7/32 ", "203.0.113.7", "2001:DB8::/32", "", "::ffff:10.0.0.1"])
    assert key.allowed_networks == ["203.0.113.7", "2001:db8::/32", "10.0.0.1"]
    with pytest.raises(ValidationError) as error:
        make("l", networks=["10.0.0.1/8"])
    assert "allowed_networks" in error.value.message_dict


async def test_the_old_token_of_a_rotated_key_is_worth_nothing(db: Platform, api_key: Callable[..., str]) -> None:
    old = api_key()

    def rotate() -> tuple[str, Any]:
        with scope.bind(db.acme):
            key = ApiKey.objects.get()
            return keys.key_rotate(key=key, actor="test"), key.pk

    new, key_id = in_thread(rotate)
    keys.forget_all()
    assert (await keys.actor_of_token(new, db.acme)).key_id == key_id
    with pytest.raises(PaasError) as error:
        await keys.actor_of_token(old, db.acme)
    assert error.value.code == "invalid_api_key"


def test_a_key_sees_and_manages_only_what_is_below_it(bound: Platform) -> None:
    """A25."""
    own, _ = make("own", ["admin:keys", "chat:read"])
    below, _ = make("below", ["admin:keys"], parent=own)
    lowest, _ = make("lowest", ["admin:keys"], parent=below)
    make("another")
    actor = right(own)
    assert actor is not None
    assert [row.key.name for row in key_selectors.keys_for(actor)] == ["own", "below", "lowest"]
    assert key_selectors.changeable_for(actor, lowest.pk) == lowest
    assert key_selectors.parent_for(actor, None) == own
    assert key_selectors.parent_for(actor, below.pk) == below
    with pytest.raises(PaasError) as error:
        key_selectors.changeable_for(actor, own.pk)
    assert error.value.code == "permission_denied"
    lower = right(below)
    assert lower is not None
    for stranger in (own, ApiKey.objects.get(name="another")):
        with pytest.raises(PaasError) as error:
            key_selectors.row_for(lower, stranger.pk)
        assert error.value.code == "not_found"


async def test_last_use_is_written_for_all_keys_at_once_and_never_backwards(
    db: Platform, api_key: Callable[..., str], monkeypatch: Any
) -> None:
    """No request writes: what is noted goes out once a minute, in one statement."""
    assert key_use.EVERY_SECONDS >= 60
    monkeypatch.setattr(key_use, "_used", {})
    tokens = [api_key("acme"), api_key("globex")]

    def used() -> dict[str, Any]:
        with scope.platform():
            return dict(ApiKey.objects.values_list("name", "last_used_at"))

    for _ in range(3):
        await keys.actor_of_token(tokens[0], db.acme)
        await keys.actor_of_token(tokens[1], db.globex)
    assert set(in_thread(used).values()) == {None}
    assert len(key_use._used) == 2

    def written() -> int:
        with scope.platform(), CaptureQueriesContext(connection) as queries:
            key_use._write(dict(key_use._used))
        return len([one for one in queries if one["sql"].startswith("UPDATE")])

    assert in_thread(written) == 1
    before = in_thread(used)
    assert all(before.values())

    key_use._used.update({key_id: moment - timedelta(hours=1) for key_id, moment in key_use._used.items()})
    await key_use.write()
    assert in_thread(used) == before, "another process saw it later"
    assert key_use._used == {}


async def test_last_use_that_cannot_be_written_is_kept(
    db: Platform, api_key: Callable[..., str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(key_use, "_used", {})
    await keys.actor_of_token(api_key(), db.acme)

    def away(used: Any) -> None:
        raise PaasError("database_unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(key_use, "_write", away)
        await key_use.write()
    assert len(key_use._used) == 1
