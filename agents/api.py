"""Agents over the API: which there are, and new ones. How they are changed and released: agents/release_api.py."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.policies import CHAT_READ
from agents import editing
from agents.builtin_specs import agent_views
from agents.release_api import manager, object_of, state_view


class AgentList(APIView):
    """`GET /api/v1/agents`: the agents that can be chatted with, oldest first, and behind them the built-in ones.

    `?state=all` and `?state=archived`: the tenant's own as those see them who may change them, also what is a draft
    only. `POST`: a new one, which is a draft.
    """

    class Query(serializers.Serializer[Any]):
        state = serializers.ChoiceField(choices=["", "all", "archived"], default="")

    def get(self, request: Request) -> Response:
        assert isinstance(request.auth, Actor)
        request.auth.require(CHAT_READ)
        query = self.Query(data=request.query_params)
        query.is_valid(raise_exception=True)
        if state := query.validated_data["state"]:
            managed = editing.agents_managed(manager(request), archived=state == "archived")
            return Response({"agents": [state_view(one) for one in managed], "count": len(managed)})
        found = agent_views(request.auth)
        return Response({"agents": found, "count": len(found)})

    def post(self, request: Request) -> Response:
        actor = manager(request)
        fields = object_of(request.data)
        made = editing.agent_create(actor=actor, slug=fields.pop("slug", ""), fields=fields)
        return Response(state_view(made), status=201)
