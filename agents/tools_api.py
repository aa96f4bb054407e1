"""Tools over the API: which there are, how often they were called, and what the workspace says about them."""

from __future__ import annotations

import time
import uuid
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, Sum
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import audit
from accounts.actors import Actor
from accounts.policies import ADMIN_SETTINGS, AGENTS_MANAGE, CHAT_READ, USAGE_READ
from agents import access
from agents.models import Tool, ToolSetting, ToolUse
from agents.tools.arguments import problem_with
from agents.tools.http import request as call_http
from agents.tools.http_services import FIELDS, tool_delete, tool_save
from agents.tools.memory import MEMORY_TOOLS
from agents.tools.registry import BUILTIN, http_tool, tools_named
from agents.tools.spec import ToolResult
from agents.tools.toolbox import MOST_RESULT_CHARS
from core import clock
from core.errors import PaasError


class Wanted(serializers.Serializer[Any]):
    """What can be set of a tool; see `ToolSetting`. null: no limit."""

    name = serializers.CharField(max_length=64)
    enabled = serializers.BooleanField(required=False)
    calls_per_day = serializers.IntegerField(min_value=0, max_value=10**9, allow_null=True, required=False)
    calls_per_month = serializers.IntegerField(min_value=0, max_value=10**9, allow_null=True, required=False)
    approval = serializers.ChoiceField(choices=ToolSetting.Approval.choices, required=False)
    api_key = serializers.CharField(max_length=500, allow_blank=True, required=False, write_only=True)


class ToolList(APIView):
    """`GET, POST /api/v1/tools`: every tool that an agent of this workspace can be given, and all that it has built."""

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
        own = {str(one.pk): one for one in Tool.objects.all()}
        ids = {one.name: key for key, one in own.items()}
        listed = [one | {"id": ids.get(str(one["name"]))} for one in shown]
        resting = [http_tool(one).spec() for one in own.values() if not one.enabled]
        listed += [
            {
                "name": spec.name,
                "description": spec.description,
                "parameters": spec.parameters,
                "effect": spec.effect,
                "tainted": True,
                "enabled": False,
                "id": ids[spec.name],
            }
            for spec in resting
        ]
        return Response({"tools": listed, "count": len(listed)})

    def post(self, request: Request) -> Response:
        actor = _actor(request, AGENTS_MANAGE)
        return Response({"tool": _own_view(_saved(Tool(), actor, request.data))}, status=201)


class ToolDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/tools/{id}`: a tool that the workspace has built."""

    def get(self, request: Request, tool_id: uuid.UUID) -> Response:
        _actor(request, AGENTS_MANAGE)
        return Response({"tool": _own_view(_own(tool_id))})

    def patch(self, request: Request, tool_id: uuid.UUID) -> Response:
        actor = _actor(request, AGENTS_MANAGE)
        return Response({"tool": _own_view(_saved(_own(tool_id), actor, request.data))})

    def delete(self, request: Request, tool_id: uuid.UUID) -> Response:
        actor = _actor(request, AGENTS_MANAGE)
        tool_delete(_own(tool_id), actor=actor.label)
        access.forget_all()
        return Response(status=204)


class ToolTry(APIView):
    """`POST /api/v1/tools/{id}/try` with `{arguments}`: one call, also of a tool that is off. It is a real one."""

    rate_class = "admin"

    def post(self, request: Request, tool_id: uuid.UUID) -> Response:
        actor = _actor(request, AGENTS_MANAGE)
        tool = http_tool(_own(tool_id))
        arguments: Any = request.data.get("arguments", {}) if isinstance(request.data, dict) else None
        problem = problem_with(arguments, tool.spec().parameters)
        if problem:
            raise PaasError("validation_failed", details={"fields": {"arguments": [problem]}})
        with transaction.atomic():
            audit.record("tool.tried", actor=actor.label, target=tool.name)
        begun = time.perf_counter()
        try:
            said = async_to_sync(call_http)(tool, arguments)
        except PaasError as error:
            said = ToolResult(error.message, is_error=True)
        spent = round((time.perf_counter() - begun) * 1000)
        return Response({"ok": not said.is_error, "result": said.text[:MOST_RESULT_CHARS], "duration_ms": spent})


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
        "approval": one.approval,
        "has_api_key": bool(one.api_key),
    }


def _own(tool_id: uuid.UUID) -> Tool:
    found = Tool.objects.filter(pk=tool_id).first()
    if found is None:
        raise PaasError("not_found")
    return found


def _own_view(one: Tool) -> dict[str, Any]:
    shown = {name: getattr(one, name) for name in FIELDS if name != "secret"}
    return {"id": str(one.pk), **shown, "has_secret": bool(one.secret), "secret_host": one.secret_host}


def _saved(tool: Tool, actor: Actor, given: Any) -> Tool:
    if not isinstance(given, dict) or (unknown := sorted(set(given) - set(FIELDS))):
        names = unknown if isinstance(given, dict) else ["body"]
        raise PaasError("validation_failed", details={"fields": {name: ["Not a field of a tool."] for name in names}})
    if given.get("name") in {*BUILTIN, *(one.spec.name for one in MEMORY_TOOLS)}:
        raise PaasError("already_exists", details={"param": "name"})
    try:
        saved = tool_save(tool, actor=actor.label, fields=dict(given))
    except ValidationError as error:
        raise PaasError("validation_failed", details={"fields": error.message_dict}) from None
    access.forget_all()
    return saved


def _actor(request: Request, action: str) -> Actor:
    assert isinstance(request.auth, Actor)
    request.auth.require(action)
    return request.auth
