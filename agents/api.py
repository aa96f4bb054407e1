"""Agents over the API."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.policies import CHAT_READ
from agents import selectors


class AgentList(APIView):
    """`GET /api/v1/agents`: the agents that can be chatted with, oldest first."""

    def get(self, request: Request) -> Response:
        assert isinstance(request.auth, Actor)
        request.auth.require(CHAT_READ)
        found = [
            {
                "id": str(agent.id),
                "slug": agent.slug,
                "name": agent.name,
                "description": agent.description,
                "model": agent.current.model if agent.current else "",
            }
            for agent in selectors.agents_for(request.auth)
        ]
        return Response({"agents": found, "count": len(found)})
