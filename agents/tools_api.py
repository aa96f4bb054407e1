"""Tools over the API: which there are, how often they were called, and what the workspace says about them."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q, Sum
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import audit
from accounts.actors import Actor
from accounts.policies import ADMIN_SETTINGS, CHAT_READ, USAGE_READ
from agents import access
from agents.models import ToolSetting, ToolUse
from agents.tools.registry import tools_named
from core import clock
from core.errors import PaasError


class Wanted(serializers.Serializer[Any]):
    """What can be set of a tool; see `ToolSetting`. null: no limit."""

    name = serializers.CharField(max_length=64)
    enabled = serializers.BooleanField(required=False)
    calls_per_day = serializers.IntegerField(min_value=0, max_value=10**9, allow_null=True, required=False)
    calls_per_month = serializers.IntegerField(min_value=0, max_value=10**9, allow_null=True, required=False)
    api_key = serializers.CharField(max_length=500, allow_blank=True, required=False, write_only=True)


class ToolList(APIView):
    """`GET /api/v1/tools`: every tool that an agent of this workspace can be given."""

    def get(self, request: Request) -> Response:
        _actor(request, CHAT_READ)
        off = set(ToolSetting.objects.filter(enabled=False).values_list("name", flat=True))
        shown = [
            {
                "name": spec.name,
                "description": spec.description,
                "parameters": spec.parameters,
                "effect": spec.effect,
                "tainted": spec.tainted,
                "enabled": spec.name not in off,
            }
            for spec in tools_named().values()
        ]
        return Response({"tools": shown, "count": len(shown)})


class ToolUsage(APIView):
    """`GET /api/v1/tools/usage`: calls of today and of this month (UTC), of each tool that was called in it."""

    def get(self, request: Request) -> Response:
        _actor(request, USAGE_READ)
        today = clock.now().date()
        sums = (
            ToolUse.objects.filter(day__gte=today.replace(day=1), calls__gt=0)
            .values("name")
            .annotate(
                month=Sum("calls"), today=Sum("calls", filter=Q(day=today)), bad=Sum("failed"), spent=Sum("duration_ms")
            )
        )
        shown = [
            {
                "name": one["name"],
                "calls_today": one["today"] or 0,
                "calls_this_month": one["month"],
                "failed_this_month": one["bad"],
                "duration_ms_this_month": one["spent"],
            }
            for one in sums.order_by("name")
        ]
        return Response({"usage": shown})


class ToolConfig(APIView):
    """`GET, PUT /api/v1/tools/config`: switch a tool on or off, and limit its calls, give it a key. PUT sets one tool.

    A key is taken and never shown."""

    rate_class = "admin"

    def get(self, request: Request) -> Response:
        _actor(request, ADMIN_SETTINGS)
        known = {one.name: one for one in ToolSetting.objects.all()}
        names = [*tools_named(), *(name for name in known if name not in tools_named())]
        return Response({"config": [_view(known.get(name) or ToolSetting(name=name)) for name in names]})

    def put(self, request: Request) -> Response:
        actor = _actor(request, ADMIN_SETTINGS)
        serializer = Wanted(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = dict(serializer.validated_data)
        name = asked.pop("name")
        if asked.get("api_key") and not (asked["api_key"].isascii() and asked["api_key"].isprintable()):
            raise PaasError("validation_failed", details={"fields": {"api_key": ["No key has such a character."]}})
        if name not in tools_named([name]):
            raise PaasError(
                "validation_failed", details={"fields": {"name": ["There is no such tool in this workspace."]}}
            )
        with transaction.atomic():
            found, _ = ToolSetting.objects.update_or_create(name=name, defaults=asked)
            audit.record("tool.configured", actor=actor.label, target=name, **_view(found))
        access.forget_all()
        return Response({"config": _view(found)})


def _view(one: ToolSetting) -> dict[str, Any]:
    return {
        "name": one.name,
        "enabled": one.enabled,
        "calls_per_day": one.calls_per_day,
        "calls_per_month": one.calls_per_month,
        "has_api_key": bool(one.api_key),
    }


def _actor(request: Request, action: str) -> Actor:
    assert isinstance(request.auth, Actor)
    request.auth.require(action)
    return request.auth
