"""Links that work once (A15)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from accounts import codes
from accounts.models import OneTimeCode, User
from core.errors import PaasError
from tenants import scope


@pytest.fixture
def person(db: Any) -> User:
    with scope.platform():
        return User.objects.get(email="member@acme.test")


def refused(purpose: str, code: str) -> bool:
    try:
        codes.redeem(purpose, code)
    except PaasError as error:
        assert error.code == "link_invalid"
        return True
    return False


def test_a_code_works_once_for_its_purpose(person: User, acme: Any) -> None:
    with scope.bind(acme):
        code = codes.issue("password", seconds=60, user=person, tenant_id=acme.id, step=2)
    assert refused("email", code)
    assert codes.peek("password", code).user == person
    found = codes.redeem("password", code)
    assert (found.user, found.tenant_id, found.data) == (person, acme.id, {"step": 2})
    assert refused("password", code)


def test_old_revoked_and_made_up_codes_are_refused(person: User) -> None:
    old = codes.issue("password", seconds=-1, user=person)
    assert refused("password", old)
    code = codes.issue("password", seconds=60, user=person)
    kept = codes.issue("email", seconds=60, user=person)
    codes.revoke("password", person)
    assert refused("password", code)
    assert not refused("email", kept)
    for made_up in ("", "x", "\x00", "é" * 50, code + "a"):
        assert refused("password", made_up)
    codes.issue("handover", seconds=-1, user=person)
    with scope.platform():
        assert codes.purge() == 1
        assert not OneTimeCode.objects.exists()


def test_of_many_at_once_one_succeeds(person: User) -> None:
    code = codes.issue("handover", seconds=60, user=person)
    together = Barrier(8)

    def attempt() -> bool:
        try:
            together.wait(10)
            return not refused("handover", code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        won = [done.result() for done in [threads.submit(attempt) for _ in range(8)]]
    assert sum(won) == 1


def test_the_code_itself_is_not_stored_and_tenants_see_no_row(person: User, acme: Any) -> None:
    from django.db import ProgrammingError

    code = codes.issue("handover", seconds=60, user=person, tenant_id=acme.id)
    with scope.platform():
        row = OneTimeCode.objects.get()
        assert code.encode() not in bytes(row.digest)
        assert len(bytes(row.digest)) == 32
    with scope.bind(acme), pytest.raises(ProgrammingError, match="permission denied"):
        OneTimeCode.objects.count()


def test_what_has_expired_is_removed(person: User, acme: Any) -> None:
    from datetime import timedelta

    from accounts import jobs
    from accounts.models import RefreshFamily, Session, SignUp
    from core import clock
    from core.ids import uuid7

    now = clock.now()
    with scope.platform():
        for age in (timedelta(days=-40), timedelta(days=1)):
            until = now + age
            codes.issue("handover", seconds=age.total_seconds(), user=person)
            Session.objects.create(session_key=uuid7().hex, session_data="", expire_date=until, user=person)
            SignUp.objects.create(email="a@b.test", tenant_name="A", slug="a", digest=uuid7().bytes, expires_at=until)
            RefreshFamily.objects.create(tenant_id=acme.id, user=person, jti=uuid7(), issued_at=now, expires_at=until)
        RefreshFamily.objects.create(tenant_id=acme.id, user=person, jti=uuid7(), issued_at=now, expires_at=now)
        jobs.purge()
        kinds = (OneTimeCode, Session, SignUp, RefreshFamily)
        assert [kind.objects.count() for kind in kinds] == [1, 1, 1, 2]
        assert not SignUp.objects.filter(expires_at__lte=now).exists()
