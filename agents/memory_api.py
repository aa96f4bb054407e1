"""What agents noted about a person, over the API: their own, to see, take along and delete."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from agents import memories


class MemoryList(APIView):
    """`GET, DELETE /api/v1/memories`: newest first, a page at a time; or delete them all. `?agent=`: of one agent."""

    class Query(serializers.Serializer[Any]):
        agent = serializers.CharField(max_length=60, default="", allow_blank=True)
        limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
        before = serializers.UUIDField(default=None, allow_null=True)

    def get(self, request: Request) -> Response:
        actor = _person(request)
        query = self.Query(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        found = memories.memories_of(actor, asked["agent"])
        if asked["before"]:
            found = found.filter(id__lt=asked["before"])
        page = list(found[: asked["limit"] + 1])
        shown, more = page[: asked["limit"]], len(page) > asked["limit"]
        return Response({
            "enabled": not memories.is_paused(actor),
            "memories": [memories.memory_view(one) for one in shown],
            "next_before": str(shown[-1].id) if more else None,
        })  # fmt: skip

    def delete(self, request: Request) -> Response:
        actor = _person(request)
        query = self.Query(data=request.query_params)
        query.is_valid(raise_exception=True)
        return Response({"deleted": memories.memories_clear(actor=actor, agent=query.validated_data["agent"])})


class MemoryDetail(APIView):
    """`DELETE /api/v1/memories/{id}`"""

    def delete(self, request: Request, memory_id: uuid.UUID) -> Response:
        memories.memory_delete(actor=_person(request), memory_id=memory_id)
        return Response(status=204)


class MemoryExport(APIView):
    """`GET /api/v1/memories/export`: all of them, as a file."""

    def get(self, request: Request) -> Response:
        found = memories.memories_of(_person(request))
        answer = Response({"memories": [memories.memory_view(one) for one in found]})
        answer["Content-Disposition"] = 'attachment; filename="memories.json"'
        return answer


class MemorySetting(APIView):
    """`GET, PUT /api/v1/memories/setting`: whether anything is noted about the person, and told to agents."""

    class Body(serializers.Serializer[Any]):
        enabled = serializers.BooleanField()

    def get(self, request: Request) -> Response:
        return Response({"enabled": not memories.is_paused(_person(request))})

    def put(self, request: Request) -> Response:
        actor = _person(request)
        body = self.Body(data=request.data)
        body.is_valid(raise_exception=True)
        memories.memory_switch(actor=actor, enabled=body.validated_data["enabled"])
        return Response(body.validated_data)


def _person(request: Request) -> Actor:
    assert isinstance(request.auth, Actor)
    memories.person_of(request.auth)
    return request.auth
