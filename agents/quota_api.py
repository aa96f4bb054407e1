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
from tenants.models import Limit
from tenants.scope import TenantRef
from usage.limits import BELOW, Place, limit_remove, limit_set
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
        return Response({"limits": _with_ids([line.view() for line in quotas.lines()])})

    def put(self, request: Request) -> Response:
        actor = _manager(request)
        asked = _asked(Wanted(data=request.data), request.data)
        amount = asked.pop("limit")
        asked["subject_id"] = quotas.subject_of(actor, asked["level"], asked["subject_id"])
        place = Place(actor.tenant, **asked)
        changed = _set(place, amount, actor.label)
        views = _with_ids([line.view() for line in quotas.lines()])
        kind = (place.level, str(place.subject_id), place.metric, place.period or None, place.currency or None)
        names = ("level", "subject_id", "metric", "period", "currency")
        found = next(view for view in views if tuple(view[name] for name in names) == kind)
        return Response({"limit": found, "changed": changed})


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


def _with_ids(views: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the id by which each that was set can be removed; a plan's and a key's own have none."""
    tenant = scope.current_tenant().id
    rows = Limit.objects.filter(tenant_id=tenant).values_list(
        "level", "subject_id", "metric", "period", "currency", "id"
    )
    ids = {
        (level, str(subject), metric, period, currency): str(found)
        for level, subject, metric, period, currency, found in rows
    }
    for view in views:
        kind = (view["level"], view["subject_id"], view["metric"], view["period"] or "", view["currency"] or "")
        view["id"] = ids.get(kind)
    return views


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
        found = Limit.objects.filter(pk=limit_id, tenant_id=tenant_id, level="tenant").first()
        if found is None:
            raise PaasError("not_found")
        place = Place(tenant, "tenant", tenant.id, found.metric, found.period, found.currency)
        with scope.platform_about(tenant):
            limit_remove(place=place, actor=self.label(request))
        return Response(status=204)


def _of_tenant(tenant: TenantRef) -> dict[str, Any]:
    """The limits that were set, and where the counted ones of plan and limits stand."""
    rows = Limit.objects.filter(tenant_id=tenant.id, level="tenant").order_by("metric", "period", "currency")
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
        for one in rows
    ]
    return {"limits": shown, "standing": [one.view() for one in standings_of(tenant.id, [tenant.id])]}
