"""Making and releasing agents over the API: drafts, versions, differences, files. Reading agents is agents/api.py's."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.policies import AGENTS_MANAGE
from agents import content, drafts, editing, portable, releases
from agents.models import Agent, AgentVersion
from agents.releases import Seen
from core.errors import PaasError


def manager(request: Request) -> Actor:
    """Who asks, if they may change agents. Raises permission_denied."""
    assert isinstance(request.auth, Actor)
    request.auth.require(AGENTS_MANAGE)
    return request.auth


class AgentView(APIView):
    """What changes agents asks for the right before it looks at anything else."""

    rate_class: str | None = None  # DRF: by the method

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        manager(request)


class AgentDetail(AgentView):
    """`DELETE /api/v1/agents/{slug}`: archive it. (GET is the Phase 1 door's.)"""

    def delete(self, request: Request, slug: str) -> Response:
        releases.agent_archive(actor=manager(request), slug=slug)
        return Response(status=204)


class AgentRestore(AgentView):
    """`POST /api/v1/agents/{slug}/restore`: undo an archiving."""

    def post(self, request: Request, slug: str) -> Response:
        return _state(releases.agent_restore(actor=manager(request), slug=slug))


class AgentDraft(AgentView):
    """`GET, PATCH, DELETE /api/v1/agents/{slug}/draft`: `If-Match` with the ETag guards against lost changes."""

    def get(self, request: Request, slug: str) -> Response:
        return _state(editing.agent_named(manager(request), slug))

    def patch(self, request: Request, slug: str) -> Response:
        actor, revision = manager(request), request.headers.get("If-Match")
        editing.agent_named(actor, slug)  # that it is not there comes before what is wrong with the body
        fields = object_of(request.data)
        return _state(editing.draft_update(actor=actor, slug=slug, fields=fields, revision=revision))

    def delete(self, request: Request, slug: str) -> Response:
        editing.draft_discard(actor=manager(request), slug=slug, revision=request.headers.get("If-Match"))
        return Response(status=204)


class AgentVersions(AgentView):
    """`GET /api/v1/agents/{slug}/versions`: newest first; `next_before` is the number to go on from."""

    class Query(serializers.Serializer[Any]):
        limit = serializers.IntegerField(min_value=1, max_value=100, default=30)
        before = serializers.IntegerField(min_value=1, max_value=10**9, default=None, allow_null=True)

    def get(self, request: Request, slug: str) -> Response:
        agent = editing.agent_named(manager(request), slug)
        asked = self.Query(data=request.query_params)
        asked.is_valid(raise_exception=True)
        limit = asked.validated_data["limit"]
        found = releases.versions_before(agent, asked.validated_data["before"], limit + 1)
        page = found[:limit]
        following = page[-1].number if len(found) > limit else None
        return Response({"versions": [_version_view(agent, one) for one in page], "next_before": following})


class AgentVersionDetail(AgentView):
    """`GET /api/v1/agents/{slug}/versions/{number}`: with all that it says."""

    def get(self, request: Request, slug: str, number: str) -> Response:
        agent = editing.agent_named(manager(request), slug)
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise PaasError("not_found")
        version = releases.version_of(agent, int(number))
        said = content.shown(content.content_of(version))
        return Response(_version_view(agent, version) | {"content": said})


class AgentDiff(AgentView):
    """`GET /api/v1/agents/{slug}/diff?from=&to=`: numbers or `draft`; without them, what publishing would change."""

    def get(self, request: Request, slug: str) -> Response:
        agent = editing.agent_named(manager(request), slug)
        query = request.query_params
        return Response(releases.agent_diff(agent, query.get("from", ""), query.get("to", "")))


class AgentPublish(AgentView):
    """`POST /api/v1/agents/{slug}/publish` {note?, base?}: 201 with a new version, 200 where none was needed."""

    class Body(serializers.Serializer[Any]):
        note = serializers.CharField(max_length=releases.MOST_NOTE_CHARS, default="", allow_blank=True)
        base = serializers.IntegerField(min_value=0, max_value=10**9, default=None, allow_null=True)

    def post(self, request: Request, slug: str) -> Response:
        actor = manager(request)
        editing.agent_named(actor, slug)
        body = self.Body(data=request.data)
        body.is_valid(raise_exception=True)
        seen = Seen(request.headers.get("If-Match"), body.validated_data["base"])
        agent, fresh = releases.agent_publish(actor=actor, slug=slug, note=body.validated_data["note"], seen=seen)
        return _state(agent, status=201 if fresh else 200)


class AgentRollBack(AgentView):
    """`POST /api/v1/agents/{slug}/rollback` {version, note?}: 201 with a new version, 200 where none was needed."""

    class Body(serializers.Serializer[Any]):
        version = serializers.IntegerField(min_value=1, max_value=10**9)
        note = serializers.CharField(max_length=releases.MOST_NOTE_CHARS, default="", allow_blank=True)

    def post(self, request: Request, slug: str) -> Response:
        actor = manager(request)
        editing.agent_named(actor, slug)
        body = self.Body(data=request.data)
        body.is_valid(raise_exception=True)
        number, note = body.validated_data["version"], body.validated_data["note"]
        agent, fresh = releases.agent_roll_back(actor=actor, slug=slug, number=number, note=note)
        return _state(agent, status=201 if fresh else 200)


class AgentExport(AgentView):
    """`GET /api/v1/agents/{slug}/export?version=`: the published version, a number, or `draft`, as a document."""

    def get(self, request: Request, slug: str) -> Response:
        agent = editing.agent_named(manager(request), slug)
        return Response(portable.agent_document(agent, request.query_params.get("version", "")))


class AgentImport(AgentView):
    """`POST /api/v1/agent-imports?dry_run=`: a document that was exported becomes a draft."""

    class Query(serializers.Serializer[Any]):
        dry_run = serializers.BooleanField(default=False)

    def post(self, request: Request) -> Response:
        query = self.Query(data=request.query_params)
        query.is_valid(raise_exception=True)
        dry_run = query.validated_data["dry_run"]
        done = portable.agent_import(actor=manager(request), document=request.data, dry_run=dry_run)
        said = {"slug": done.slug, "result": done.what, "dry_run": dry_run, "draft": done.draft}
        status = 201 if done.what == "created" and not dry_run else 200
        return Response(said | {"changes": done.changes}, status=status)


def object_of(data: Any) -> dict[str, Any]:
    """A body that is a JSON object. Raises validation_failed."""
    if not isinstance(data, dict):
        raise PaasError("validation_failed", "The request body must be a JSON object.")
    return {str(name): value for name, value in data.items()}


def state_view(agent: Agent) -> dict[str, Any]:
    """An agent as those see it who may change it: what is published, and what the draft says."""
    draft = drafts.draft_of(agent)
    return {
        "id": str(agent.id),
        "slug": agent.slug,
        "name": agent.name,
        "description": agent.description,
        "version": agent.current.number if agent.current else None,
        "archived_at": agent.archived_at.isoformat() if agent.archived_at else None,
        "has_draft": draft.begun,
        "draft": content.shown(draft.content),
        "draft_base": draft.base,
        "draft_by": draft.by or None,
        "draft_at": draft.at or None,
        "revision": draft.revision,
    }


def _state(agent: Agent, status: int = 200) -> Response:
    said = state_view(agent)
    return Response(said, status=status, headers={"ETag": f'"{said["revision"]}"', "Cache-Control": "no-store"})


def _version_view(agent: Agent, version: AgentVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "current": agent.current_id == version.pk,
        "note": version.note,
        "restores": version.restores,
        "created_by": version.created_by,
        "created_at": version.created_at.isoformat(),
        "model": version.model,
        "provider": version.provider.name if version.provider else None,
    }
