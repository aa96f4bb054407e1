"""Tenants over the API of the platform host, for operators."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.db import transaction
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import proof, tenant_life
from accounts.models import User
from accounts.operators import IsOperator, Operator, OperatorAuthentication
from core.errors import PaasError
from tenants import provisioning, resolve, selectors
from tenants.models import Tenant

Status = Tenant.Status


class Query(serializers.Serializer[Any]):
    limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
    cursor = serializers.CharField(max_length=40, default="", allow_blank=True)
    status = serializers.ChoiceField(choices=Status.values, default="", allow_blank=True)
    q = serializers.CharField(max_length=120, default="", allow_blank=True)


class New(serializers.Serializer[Any]):
    slug = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=120)
    owner = serializers.EmailField(max_length=254)
    plan = serializers.CharField(max_length=40, default="free")


class Patch(serializers.Serializer[Any]):
    slug = serializers.CharField(max_length=60, required=False)
    name = serializers.CharField(max_length=120, required=False)
    plan = serializers.CharField(max_length=40, required=False)


class OperatorView(APIView):
    """A view for operators; what the services find wrong with a field becomes validation_failed."""

    authentication_classes = (OperatorAuthentication,)
    permission_classes = (IsOperator,)

    @staticmethod
    def label(request: Request) -> str:
        assert isinstance(request.auth, Operator)
        return request.auth.label


@contextmanager
def _said_by_field() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        fields = error.message_dict if hasattr(error, "error_dict") else {"non_field_errors": error.messages}
        raise PaasError("validation_failed", details={"fields": fields}) from None


def _checked(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _found(tenant_id: uuid.UUID) -> Any:
    found = selectors.tenant_row(tenant_id)
    if found is None:
        raise PaasError("not_found")
    return found


def view(tenant: Any) -> dict[str, Any]:
    """A tenant as the API shows it."""
    return {
        "id": str(tenant.id),
        "slug": tenant.slug,
        "name": tenant.name,
        "plan": tenant.plan_id,
        "url": resolve.tenant_url(tenant.slug),
        "people": tenant.people,
        "require_mfa": tenant.require_mfa,
        "created_at": tenant.created_at.isoformat(),
        "delete_after": tenant.delete_after.isoformat() if tenant.delete_after else None,
        "deleted_at": tenant.deleted_at.isoformat() if tenant.deleted_at else None,
        **progress(tenant),
    }


def progress(tenant: Tenant) -> dict[str, Any]:
    """Where making or erasing it stands."""
    moving = tenant.status in (Status.CREATING, Status.DELETED)
    return {
        "status": tenant.status,
        "step": tenant.step if moving else "",
        "percent": provisioning.progress_of(tenant),
        "failure": tenant.failure,
    }


class TenantList(OperatorView):
    """`GET, POST /api/v1/tenants`"""

    def get(self, request: Request) -> Response:
        asked = _checked(Query(data=request.query_params))
        page, following = selectors.tenant_page(
            after=asked["cursor"], limit=asked["limit"], status=asked["status"], text=asked["q"].replace("\0", "")
        )
        return Response({"tenants": [view(one) for one in page], "next_cursor": following})

    def post(self, request: Request) -> Response:
        asked = _checked(New(data=request.data))
        with _said_by_field(), transaction.atomic():
            made = tenant_life.tenant_request(
                slug=asked["slug"].lower(), name=asked["name"], plan=asked["plan"],
                owner=tenant_life.owner_named(asked["owner"], actor=self.label(request)),
                actor=self.label(request), careful=False,
            )  # fmt: skip
        where = f"/api/v1/tenants/{made.id}"
        return Response(view(_found(made.id)), status=202, headers={"Location": where})


class TenantDetail(OperatorView):
    """`GET, PATCH, DELETE /api/v1/tenants/{id}`"""

    def get(self, request: Request, tenant_id: uuid.UUID) -> Response:
        return Response(view(_found(tenant_id)))

    def patch(self, request: Request, tenant_id: uuid.UUID) -> Response:
        tenant = _found(tenant_id)
        asked = _checked(Patch(data=request.data))
        if tenant.status == Status.DELETED:
            raise _wrong_status(tenant)
        with _said_by_field(), transaction.atomic():
            if "slug" in asked:
                slug = asked.pop("slug").lower()
                tenant_life.tenant_move(tenant=tenant, slug=slug, actor=self.label(request), careful=False)
            tenant_life.tenant_update(tenant=tenant, actor=self.label(request), **asked)
        return Response(view(_found(tenant_id)))

    def delete(self, request: Request, tenant_id: uuid.UUID) -> Response:
        """Closed at once, erased when the grace is over (`delete_after`). `proof`: see proof.demanded."""
        given = request.data.get("proof", "") if isinstance(request.data, dict) else ""
        proof.demanded(request._request, User.objects.get(pk=cast(Operator, request.auth).id), str(given))
        return _done(request, tenant_id, tenant_life.tenant_delete, (Status.DELETING,), status=202)


class TenantSuspend(OperatorView):
    """`POST /api/v1/tenants/{id}/suspend`"""

    def post(self, request: Request, tenant_id: uuid.UUID) -> Response:
        return _done(request, tenant_id, tenant_life.tenant_suspend, (Status.SUSPENDED,))


class TenantResume(OperatorView):
    """`POST /api/v1/tenants/{id}/resume`"""

    def post(self, request: Request, tenant_id: uuid.UUID) -> Response:
        return _done(request, tenant_id, tenant_life.tenant_resume, (Status.ACTIVE,))


class TenantRestore(OperatorView):
    """`POST /api/v1/tenants/{id}/restore`: undo a deletion within its grace."""

    def post(self, request: Request, tenant_id: uuid.UUID) -> Response:
        unharmed = (Status.CREATING, Status.ACTIVE, Status.SUSPENDED)
        return _done(request, tenant_id, tenant_life.tenant_restore, unharmed)


class TenantProgress(OperatorView):
    """`GET /api/v1/tenants/{id}/progress`"""

    def get(self, request: Request, tenant_id: uuid.UUID) -> Response:
        return Response(progress(_found(tenant_id)))


def _done(
    request: Request, tenant_id: uuid.UUID, act: Callable[..., bool], already: tuple[str, ...], *, status: int = 200
) -> Response:
    """Do it, or find that it is so already. Raises wrong_status where it can be neither."""
    tenant = _found(tenant_id)
    if not act(tenant=tenant, actor=OperatorView.label(request)) and _found(tenant_id).status not in already:
        raise _wrong_status(_found(tenant_id))
    return Response(view(_found(tenant_id)), status=status)


def _wrong_status(tenant: Tenant) -> PaasError:
    return PaasError("wrong_status", details={"status": tenant.status})
