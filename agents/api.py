"""Agents over the API."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.policies import CHAT_READ
from agents.builtin_specs import agent_views


class AgentList(APIView):
    """`GET /api/v1/agents`: the agents that can be chatted with, oldest first, and behind them the built-in ones."""

    def get(self, request: Request) -> Response:
        assert isinstance(request.auth, Actor)
        request.auth.require(CHAT_READ)
        found = agent_views(request.auth)
        return Response({"agents": found, "count": len(found)})
