"""Schedules over the API: a person's own."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import schedules
from chat.api import actor_of
from chat.models import Schedule, ScheduledRun

UPCOMING = 3


class Fields(serializers.Serializer[Any]):
    """What may be set. Whether it makes sense together, `chat.schedules` says."""

    name = serializers.CharField(max_length=120)
    agent = serializers.CharField(max_length=60)
    prompt = serializers.CharField(trim_whitespace=False)
    cron = serializers.CharField(max_length=100, allow_blank=True)
    every_seconds = serializers.IntegerField(allow_null=True)
    timezone = serializers.CharField(max_length=64)
    conversation_mode = serializers.ChoiceField(choices=Schedule.Mode.choices, source="mode")
    max_failures = serializers.IntegerField(min_value=1, max_value=100)
    enabled = serializers.BooleanField()


class NewFields(Fields):
    """For a new one: what may be left out."""

    cron = serializers.CharField(max_length=100, allow_blank=True, default="")
    every_seconds = serializers.IntegerField(allow_null=True, default=None)
    timezone = serializers.CharField(max_length=64, default="UTC")
    conversation_mode = serializers.ChoiceField(choices=Schedule.Mode.choices, source="mode", default="new")
    max_failures = serializers.IntegerField(min_value=1, max_value=100, default=5)
    enabled = serializers.BooleanField(default=True)


def _valid(fields: Fields) -> dict[str, Any]:
    fields.is_valid(raise_exception=True)
    return dict(fields.validated_data)


class ScheduleList(APIView):
    """`GET, POST /api/v1/schedules`"""

    def get(self, request: Request) -> Response:
        found = list(schedules.schedules_for(actor_of(request)))
        last = schedules.last_runs(found)
        return Response({"schedules": [schedule_view(one, last.get(one.id)) for one in found]})

    def post(self, request: Request) -> Response:
        actor = actor_of(request)
        schedules.require_write(actor)
        fields = _valid(NewFields(data=request.data))
        enabled = fields.pop("enabled")
        made = schedules.schedule_create(actor=actor, fields=fields)
        if not enabled:
            made = schedules.schedule_update(actor=actor, schedule_id=made.id, fields={}, enabled=False)
        return Response(schedule_view(made, None), status=201)


class ScheduleDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/schedules/{id}`"""

    def get(self, request: Request, schedule_id: uuid.UUID) -> Response:
        found = schedules.schedule_for(actor_of(request), schedule_id)
        return Response(schedule_view(found, schedules.last_runs([found]).get(found.id)))

    def patch(self, request: Request, schedule_id: uuid.UUID) -> Response:
        actor = actor_of(request)
        schedules.require_write(actor)
        schedules.schedule_for(actor, schedule_id)
        fields = _valid(Fields(data=request.data, partial=True))
        # One timing takes the other's place.
        if fields.get("cron"):
            fields.setdefault("every_seconds", None)
        elif fields.get("every_seconds") is not None:
            fields.setdefault("cron", "")
        enabled = fields.pop("enabled", None)
        schedules.schedule_update(actor=actor, schedule_id=schedule_id, fields=fields, enabled=enabled)
        return self.get(request, schedule_id)

    def delete(self, request: Request, schedule_id: uuid.UUID) -> Response:
        schedules.schedule_delete(actor=actor_of(request), schedule_id=schedule_id)
        return Response(status=204)


class ScheduleRunNow(APIView):
    """`POST /api/v1/schedules/{id}/run-now`"""

    def post(self, request: Request, schedule_id: uuid.UUID) -> Response:
        run = schedules.schedule_run_now(actor=actor_of(request), schedule_id=schedule_id)
        return Response({"run": run_view(run)}, status=202)


class ScheduleRuns(APIView):
    """`GET /api/v1/schedules/{id}/runs`: what became of its times, newest first"""

    class Query(serializers.Serializer[Any]):
        limit = serializers.IntegerField(min_value=1, max_value=100, default=30)
        cursor = serializers.UUIDField(default=None)

    def get(self, request: Request, schedule_id: uuid.UUID) -> Response:
        found = schedules.schedule_for(actor_of(request), schedule_id)
        query = self.Query(data=request.query_params)
        query.is_valid(raise_exception=True)
        limit = query.validated_data["limit"]
        page = list(schedules.runs_of(found, query.validated_data["cursor"])[: limit + 1])
        following = str(page[limit - 1].id) if len(page) > limit else None
        return Response({"runs": [run_view(one) for one in page[:limit]], "next_cursor": following})


def run_view(run: ScheduledRun) -> dict[str, Any]:
    """What became of a due time. `run_id` is null where no run was started."""
    begun = run.started_at is not None
    return {
        "id": str(run.id),
        "run_id": str(run.id) if begun else None,
        "conversation_id": str(run.conversation_id) if run.conversation_id else None,
        "due_at": run.due_at.isoformat(),
        "by_hand": run.by_hand,
        "started_at": run.started_at.isoformat() if run.started_at else None,
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "outcome": run.outcome,
        "error": {"code": run.code, "message": run.message} if run.code else None,
    }


def schedule_view(schedule: Schedule, last: ScheduledRun | None) -> dict[str, Any]:
    """A schedule as the API shows it, with its next times."""
    following = schedule.next_run_at
    times = schedules.timing_of(schedule).upcoming(following, UPCOMING) if following else []
    return {
        "id": str(schedule.id),
        "name": schedule.name,
        "agent": {"slug": schedule.agent.slug, "name": schedule.agent.name},
        "prompt": schedule.prompt,
        "cron": schedule.cron,
        "every_seconds": schedule.every_seconds,
        "timezone": schedule.timezone,
        "conversation_mode": schedule.mode,
        "conversation_id": str(schedule.conversation_id) if schedule.conversation_id else None,
        "enabled": schedule.enabled,
        "stopped": schedule.stopped or None,
        "failures": schedule.failures,
        "max_failures": schedule.max_failures,
        "next_run_at": following.isoformat() if following else None,
        "next_times": [time.isoformat() for time in times],
        "created_at": schedule.created_at.isoformat(),
        "last_run": run_view(last) if last else None,
    }
