"""Tools over the API: which there are, how often they were called, and what the workspace says about them."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.policies import ADMIN_SETTINGS, AGENTS_MANAGE, CHAT_READ, USAGE_READ
from agents.models import Tool, ToolSetting
from agents.tools.http_services import FIELDS, own_tool, tool_delete, tool_save
from agents.tools.registry import tools_with
from agents.tools.settings import setting_view, tool_configure, tool_lines, uses_of_month
from agents.tools.trial import tool_try
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
        listed = [
            {
                "name": line.spec.name,
                "description": line.spec.description,
                "parameters": line.spec.parameters,
                "effect": line.spec.effect,
                "tainted": line.spec.tainted,
                "enabled": line.enabled,
                "id": str(line.own.pk) if line.own else None,
            }
            for line in tool_lines()
        ]
        return Response({"tools": listed, "count": len(listed)})

    def post(self, request: Request) -> Response:
        actor = _actor(request, AGENTS_MANAGE)
        return Response({"tool": _own_view(_saved(Tool(), actor, request.data))}, status=201)


class ToolDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/tools/{id}`: a tool that the workspace has built."""

    def get(self, request: Request, tool_id: uuid.UUID) -> Response:
        _actor(request, AGENTS_MANAGE)
        return Response({"tool": _own_view(own_tool(tool_id))})

    def patch(self, request: Request, tool_id: uuid.UUID) -> Response:
        actor = _actor(request, AGENTS_MANAGE)
        return Response({"tool": _own_view(_saved(own_tool(tool_id), actor, request.data))})

    def delete(self, request: Request, tool_id: uuid.UUID) -> Response:
        actor = _actor(request, AGENTS_MANAGE)
        tool_delete(own_tool(tool_id), actor=actor.label)
        return Response(status=204)


class ToolTry(APIView):
    """`POST /api/v1/tools/{id}/try` with `{arguments}`: one call, also of a tool that is off. It is a real one."""

    rate_class = "admin"

    def post(self, request: Request, tool_id: uuid.UUID) -> Response:
        actor = _actor(request, AGENTS_MANAGE)
        tool = own_tool(tool_id)
        arguments: Any = request.data.get("arguments", {}) if isinstance(request.data, dict) else None
        done = tool_try(tool, actor=actor.label, arguments=arguments)
        return Response({"ok": done.ok, "result": done.result, "duration_ms": done.milliseconds})


class ToolUsage(APIView):
    """`GET /api/v1/tools/usage`: calls of today and of this month (UTC), of each tool that was called in it."""

    def get(self, request: Request) -> Response:
        _actor(request, USAGE_READ)
        shown = [
            {
                "name": one.name,
                "calls_today": one.today,
                "calls_this_month": one.calls,
                "failed_this_month": one.failed,
                "duration_ms_this_month": one.milliseconds,
            }
            for one in uses_of_month()
        ]
        return Response({"usage": shown})


class ToolConfig(APIView):
    """`GET, PUT /api/v1/tools/config`: switch a tool on or off, and limit its calls, give it a key. PUT sets one tool.

    A key is taken and never shown."""

    rate_class = "admin"

    def get(self, request: Request) -> Response:
        _actor(request, ADMIN_SETTINGS)
        known = {one.name: one for one in ToolSetting.objects.all()}
        there = tools_with(Tool.objects.filter(enabled=True))
        names = [*there, *(name for name in known if name not in there)]
        return Response({"config": [setting_view(known.get(name) or ToolSetting(name=name)) for name in names]})

    def put(self, request: Request) -> Response:
        actor = _actor(request, ADMIN_SETTINGS)
        serializer = Wanted(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = dict(serializer.validated_data)
        name = asked.pop("name")
        try:
            found = tool_configure(actor=actor.label, name=name, fields=asked)
        except ValidationError as error:
            raise PaasError("validation_failed", details={"fields": error.message_dict}) from None
        return Response({"config": setting_view(found)})


def _own_view(one: Tool) -> dict[str, Any]:
    shown = {name: getattr(one, name) for name in FIELDS if name != "secret"}
    return {"id": str(one.pk), **shown, "has_secret": bool(one.secret), "secret_host": one.secret_host}


def _saved(tool: Tool, actor: Actor, given: Any) -> Tool:
    if not isinstance(given, dict) or (unknown := sorted(set(given) - set(FIELDS))):
        names = unknown if isinstance(given, dict) else ["body"]
        raise PaasError("validation_failed", details={"fields": {name: ["Not a field of a tool."] for name in names}})
    try:
        return tool_save(tool, actor=actor.label, fields=dict(given))
    except ValidationError as error:
        raise PaasError("validation_failed", details={"fields": error.message_dict}) from None


def _actor(request: Request, action: str) -> Actor:
    assert isinstance(request.auth, Actor)
    request.auth.require(action)
    return request.auth
