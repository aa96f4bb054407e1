"""Making people members and operators, and what is written down about it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts import audit, services
from accounts.models import AuditEvent, Membership, User
from tenants import scope
from tenants.models import Tenant
from tests.conftest import PASSWORD, Platform


def set_member(db: Platform, email: str, role: str = "member", **fields: Any) -> str:
    with scope.platform():
        tenant = Tenant.objects.get(slug="acme")
        return services.member_set(
            tenant=tenant, email=email, role=role, password=fields.pop("password", PASSWORD), actor="test", **fields
        )


@pytest.fixture
def newcomer(db: Platform) -> Any:
    email = "newcomer@acme.test"
    yield email
    with scope.platform():
        Membership.objects.filter(user__email=email).delete()
        User.objects.filter(email=email).delete()


def test_created_updated_unchanged(db: Platform, newcomer: str) -> None:
    assert set_member(db, "  NewComer@ACME.test ", name="New") == "created"
    assert set_member(db, newcomer) == "unchanged"
    assert set_member(db, newcomer, "admin") == "updated"
    with scope.bind(db.acme):
        user = User.objects.get(email=newcomer)
        assert (user.name, user.check_password(PASSWORD), user.is_staff) == ("New", True, False)
        events = AuditEvent.objects.filter(action="member.set", target=str(user.id))
        assert [event.data["role"] for event in events] == ["admin", "member"]
        assert all(PASSWORD not in str(event.data) for event in AuditEvent.objects.all())


def test_an_account_is_not_one_tenants_to_change(db: Platform) -> None:
    """A person who exists keeps their password, whatever a tenant's file says."""
    assert set_member(db, "rival@globex.test", password="another-password-x") == "created"
    try:
        with scope.platform():
            assert User.objects.get(email="rival@globex.test").check_password(PASSWORD)
    finally:
        with scope.platform():
            Membership.objects.filter(user__email="rival@globex.test", tenant__slug="acme").delete()


@pytest.mark.parametrize(
    ("email", "role"), [("x@acme.test", "king"), ("x@acme.test", ""), ("no address", "member"), ("", "member")]
)
def test_nonsense_leaves_nothing(db: Platform, email: str, role: str) -> None:
    with pytest.raises(ValidationError):
        set_member(db, email, role)
    with scope.platform():
        assert not User.objects.filter(email__in=["x@acme.test", "no address", ""]).exists()


def test_operators(db: Platform) -> None:
    email = "second@platform.test"
    with scope.platform():
        try:
            assert services.operator_set(email=email, password=PASSWORD, actor="test") == "created"
            assert services.operator_set(email=email, password=None, actor="test") == "unchanged"
            user = User.objects.get(email=email)
            assert (user.is_staff, user.is_superuser) == (True, True)
            user.is_staff = False
            user.save()
            assert services.operator_set(email=email, password=None, actor="test") == "updated"
            assert AuditEvent.objects.filter(action="operator.created").count() == 2
        finally:
            User.objects.filter(email=email).delete()


def test_audit_rows_belong_to_whom_they_are_about(db: Platform) -> None:
    with scope.bind(db.acme):
        audit.record("thing.done", actor="user:1", target="t", detail=[1, {"a": None}])
        event = AuditEvent.objects.get(action="thing.done")
        assert (event.tenant_id, event.actor, event.target, event.data) == (
            db.acme.id, "user:1", "t", {"detail": [1, {"a": None}]},
        )  # fmt: skip
    with scope.bind(db.globex):
        assert not AuditEvent.objects.filter(action="thing.done").exists()
    with scope.platform():
        audit.record("platform.done", actor="operator:1")
        assert AuditEvent.objects.get(action="platform.done").tenant_id is None
        assert AuditEvent.objects.filter(action="thing.done").exists()
    with scope.bind(db.acme):
        assert not AuditEvent.objects.filter(action="platform.done").exists()
    with pytest.raises(scope.TenantNotBound):
        audit.record("nowhere.done", actor="x")
