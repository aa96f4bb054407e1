"""Limits over the API: what holds for whoever asks, a tenant's own limits, and what the operator sets for tenants.

Here and not in usage/, because limits are shown with the names of agents.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.policies import ADMIN_SETTINGS
from accounts.tenants_api import OperatorView
from agents import quotas
from core.errors import PaasError
from tenants import scope, selectors
from tenants.scope import TenantRef
from usage.limits import BELOW, Place, limit_remove, limit_set, own_limits_of
from usage.standings import standings_of


class What(serializers.Serializer[Any]):
    """A limit as it is asked for; see `tenants.models.Limit`."""

    metric = serializers.CharField(max_length=20)
    period = serializers.CharField(max_length=6, default="", allow_blank=True, allow_null=True)
    currency = serializers.CharField(max_length=3, default="", allow_blank=True, allow_null=True)
    limit = serializers.DecimalField(max_digits=24, decimal_places=9)


class Wanted(What):
    level = serializers.ChoiceField(choices=BELOW)
    subject_id = serializers.UUIDField()


def _asked(serializer: serializers.Serializer[Any], data: Any) -> dict[str, Any]:
    unknown = sorted(set(data) - set(serializer.fields)) if isinstance(data, dict) else []
    if unknown:
        raise PaasError(
            "validation_failed", details={"fields": {name: ["Not a field of a limit."] for name in unknown}}
        )
    serializer.is_valid(raise_exception=True)
    return {name: "" if value is None else value for name, value in serializer.validated_data.items()}


def _set(place: Place, amount: Decimal, actor: str) -> bool:
    try:
        return limit_set(place=place, amount=amount, actor=actor)
    except ValidationError as error:
        found = error.message_dict if hasattr(error, "error_dict") else {"limit": error.messages}
        fields = {"limit" if name in ("amount", "tokens_per_month") else name: said for name, said in found.items()}
        raise PaasError("validation_failed", details={"fields": fields}) from None


class QuotaList(APIView):
    """`GET /api/v1/quotas`: every limit that holds for whoever asks, with what is left and when it begins anew."""

    def get(self, request: Request) -> Response:
        assert isinstance(request.auth, Actor)
        found = quotas.lines_for(request.auth, rooms=True)
        return Response({"quotas": [line.view() for line in found]}, headers={"Cache-Control": "no-store"})


class LimitList(APIView):
    """`GET, PUT /api/v1/limits`: all limits of the workspace; set one of a person, key or agent."""

    rate_class = "admin"

    def get(self, request: Request) -> Response:
        _manager(request)
        return Response({"limits": [line.view() for line in quotas.lines()]})

    def put(self, request: Request) -> Response:
        actor = _manager(request)
        asked = _asked(Wanted(data=request.data), request.data)
        amount = asked.pop("limit")
        asked["subject_id"] = quotas.subject_of(actor, asked["level"], asked["subject_id"])
        place = Place(actor.tenant, **asked)
        changed = _set(place, amount, actor.label)
        return Response({"limit": quotas.line_at(place).view(), "changed": changed})


class LimitDetail(APIView):
    """`DELETE /api/v1/limits/{id}`"""

    rate_class = "admin"

    def delete(self, request: Request, limit_id: uuid.UUID) -> Response:
        actor = _manager(request)
        limit_remove(place=quotas.place_of(actor, limit_id), actor=actor.label)
        return Response(status=204)


def _manager(request: Request) -> Actor:
    assert isinstance(request.auth, Actor)
    request.auth.require(ADMIN_SETTINGS)
    return request.auth


# --- for operators ------------------------------------------------------------------------------------


def tenant_of(tenant_id: uuid.UUID) -> TenantRef:
    """A tenant whose limits can be set. Raises not_found."""
    found = selectors.tenant_by_id(tenant_id)
    if found is None or found.status == "deleted":
        raise PaasError("not_found")
    return found


class TenantLimits(OperatorView):
    """`GET, PUT /api/v1/tenants/{id}/limits`: a workspace's own limits, in the place of its plan's."""

    def get(self, request: Request, tenant_id: uuid.UUID) -> Response:
        return Response(_of_tenant(tenant_of(tenant_id)))

    def put(self, request: Request, tenant_id: uuid.UUID) -> Response:
        tenant = tenant_of(tenant_id)
        asked = _asked(What(data=request.data), request.data)
        amount = asked.pop("limit")
        with scope.platform_about(tenant):
            _set(Place(tenant, "tenant", tenant.id, **asked), amount, self.label(request))
        return Response(_of_tenant(tenant))


class TenantLimit(OperatorView):
    """`DELETE /api/v1/tenants/{id}/limits/{limit}`: what the plan says holds again."""

    def delete(self, request: Request, tenant_id: uuid.UUID, limit_id: uuid.UUID) -> Response:
        tenant = tenant_of(tenant_id)
        found = next((one for one in own_limits_of(tenant_id) if one.pk == limit_id), None)
        if found is None:
            raise PaasError("not_found")
        place = Place(tenant, "tenant", tenant.id, found.metric, found.period, found.currency)
        with scope.platform_about(tenant):
            limit_remove(place=place, actor=self.label(request))
        return Response(status=204)


def _of_tenant(tenant: TenantRef) -> dict[str, Any]:
    """The limits that were set, and where the counted ones of plan and limits stand."""
    shown = [
        {
            "id": str(one.pk),
            "metric": one.metric,
            "period": one.period or None,
            "currency": one.currency or None,
            "limit": f"{one.amount.normalize():f}",
            "set_by": one.set_by,
            "set_at": one.set_at.isoformat(),
        }
        for one in own_limits_of(tenant.id)
    ]
    return {"limits": shown, "standing": [one.view() for one in standings_of(tenant.id, [tenant.id])]}
