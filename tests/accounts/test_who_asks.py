"""What it costs to know who has a session: one query, of which their Actor is made too."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.authentication import actor_of_cookie
from accounts.models import Membership, User
from accounts.selectors import actor_of_member, member_of
from tenants import scope
from tests.conftest import Platform
from tests.site import session_cookies


def user_of(email: str) -> User:
    with scope.platform():
        return User.objects.get(email=email)


def test_a_session_and_its_actor_are_one_query(db: Platform) -> None:
    cookie = f"sessionid={session_cookies('acme', 'member@acme.test')['sessionid']}"
    with scope.bind(db.acme):
        actor_of_cookie(cookie)  # the session's text is in Redis now
        with CaptureQueriesContext(connection) as captured:
            actor = actor_of_cookie(cookie)
    about = [one["sql"] for one in captured.captured_queries if "accounts_session" not in one["sql"]]  # a slow machine
    assert len(about) == 1, about
    assert actor is not None
    assert (actor.email, actor.role) == ("member@acme.test", "member")


def test_who_is_no_active_member_is_nobody(db: Platform) -> None:
    stranger, viewer = user_of("stranger@nowhere.test"), user_of("viewer@acme.test")
    with scope.platform():
        User.objects.filter(pk=viewer.pk).update(is_active=False)
    with scope.bind(db.acme):
        for one in (stranger, viewer):
            assert member_of(one.pk) is None
            assert actor_of_member(one) is None


def test_a_standing_is_good_in_its_own_tenant_only(db: Platform) -> None:
    """Whoever is an owner in one tenant and read there is asked about anew in another."""
    owner = user_of("owner@acme.test")
    with scope.bind(db.acme):
        found = member_of(owner.pk)
        assert found is not None
    with scope.bind(db.globex):
        assert actor_of_member(found) is None
    with scope.platform():
        Membership.objects.create(user=owner, tenant_id=db.globex.id, role="viewer")
    with scope.bind(db.globex):
        actor = actor_of_member(found)
        assert actor is not None
        assert actor.role == "viewer"
