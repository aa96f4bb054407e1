"""People for tests of members and invitations: more of them than the cast, gone afterwards, and their letters."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings

from accounts.actors import Actor
from accounts.models import AuditEvent, Membership, User
from accounts.selectors import actor_of_user
from core import crypto
from core.errors import PaasError
from tenants import scope
from tests.conftest import PASSWORD, Platform, in_thread


@pytest.fixture
def people(db: Platform) -> Platform:
    """acme and globex, with the cast and nobody else."""
    return db


def join(tenant: Any, email: str, role: str = "member") -> User:
    """A person with this role; new people get the cast's password."""

    def add() -> User:
        with scope.platform():
            user = User.objects.filter(email=email).first() or User.objects.create_user(email, PASSWORD)
            Membership.objects.update_or_create(tenant_id=tenant.id, user=user, defaults={"role": role})
            return user

    found = in_thread(add)
    assert isinstance(found, User)
    return found


def person(email: str) -> User:
    """The person with this address."""

    def find() -> User:
        with scope.platform():
            return User.objects.get(email=email)

    found = in_thread(find)
    assert isinstance(found, User)
    return found


def as_(tenant: Any, email: str) -> Actor:
    """The person as an Actor in the tenant."""
    user = person(email)

    def load() -> Any:
        with scope.bind(tenant):
            return actor_of_user(user.pk)

    actor = in_thread(load)
    assert isinstance(actor, Actor)
    return actor


def within(tenant: Any, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What `work` returns, in a thread of its own, bound to the tenant."""

    def run() -> Any:
        with scope.bind(tenant):
            return work(*args, **kwargs)

    return in_thread(run)


def role_of(tenant: Any, email: str) -> str | None:
    """The person's role in the tenant."""

    def read() -> str | None:
        with scope.platform():
            found = Membership.objects.filter(tenant_id=tenant.id, user__email=email).first()
            return found.role if found else None

    role = in_thread(read)
    assert role is None or isinstance(role, str)
    return role


def refusal(work: Callable[[], Any]) -> str:
    """The code of the error that `work` raises."""
    with pytest.raises(PaasError) as caught:
        work()
    return caught.value.code


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each of `works` returned or raised, all begun at the same moment in threads of their own."""
    from django.db import connections

    gate = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        try:
            gate.wait(timeout=10)
            return work()
        except PaasError as error:
            return error.code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as pool:
        return [each.result() for each in [pool.submit(run, work) for work in works]]


def bound(tenant: Any, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[], Any]:
    """`work(...)`, to be called later, bound to the tenant."""

    def run() -> Any:
        with scope.bind(tenant):
            return work(*args, **kwargs)

    return run


def letters(to: str = "") -> list[dict[str, str]]:
    """The letters that wait to be sent, oldest first."""
    from procrastinate.contrib.django.models import ProcrastinateJob

    def read() -> list[dict[str, str]]:
        with scope.platform():
            jobs = ProcrastinateJob.objects.filter(task_name="mail.send").order_by("id")
            return [json.loads(crypto.unwrap(settings.FIELD_KEYS, job.args["sealed"])) for job in jobs]

    return [letter for letter in in_thread(read) if not to or letter["to"] == to]


def link_in(letter: dict[str, str]) -> str:
    """The token in a letter's link."""
    found = re.search(r"/invitations/([\w-]+)/", letter["body"])
    assert found, letter["body"]
    return found[1]


def events(tenant: Any, *actions: str) -> list[AuditEvent]:
    """The tenant's audit rows of these actions, oldest first."""

    def read() -> list[AuditEvent]:
        return list(AuditEvent.objects.filter(tenant_id=tenant.id, action__in=actions).order_by("seq"))

    found = within(tenant, read)
    assert isinstance(found, list)
    return found
