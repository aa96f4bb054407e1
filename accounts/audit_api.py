"""The audit log over the API."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import audit, audit_export, audit_selectors
from accounts.actors import Actor
from accounts.audit_selectors import Search
from accounts.policies import ADMIN_AUDIT


class Query(serializers.Serializer[Any]):
    """What may be asked for; see accounts.audit_selectors.Search."""

    actor = serializers.CharField(max_length=300, default="", allow_blank=True)
    action = serializers.CharField(max_length=80, default="", allow_blank=True)
    target = serializers.CharField(max_length=200, default="", allow_blank=True)
    text = serializers.CharField(max_length=200, default="", allow_blank=True)
    since = serializers.DateTimeField(default=None, allow_null=True)
    until = serializers.DateTimeField(default=None, allow_null=True)


class PageQuery(Query):
    limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
    cursor = serializers.IntegerField(min_value=1, max_value=2**62, default=None, allow_null=True)


class ExportQuery(Query):
    format = serializers.ChoiceField(choices=list(audit_export.FORMATS), default="jsonl")


def _actor(request: Request) -> Actor:
    assert isinstance(request.auth, Actor)
    request.auth.require(ADMIN_AUDIT)
    return request.auth


def _asked(query: serializers.Serializer[Any]) -> dict[str, Any]:
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


class AuditList(APIView):
    """`GET /api/v1/audit`: newest first; `next_cursor` is the number to go on from."""

    def get(self, request: Request) -> Response:
        _actor(request)
        asked = _asked(PageQuery(data=request.query_params))
        limit, cursor = asked.pop("limit"), asked.pop("cursor")
        rows, following = audit_selectors.page(Search(**asked), before=cursor, limit=limit)
        head = audit_selectors.head()
        chain = {
            "verified_seq": head.seq if head else 0,
            "verified_at": head.verified_at.isoformat() if head and head.verified_at else None,
            "problem": head.problem if head else "",
        }
        return Response({"events": [row.view() for row in rows], "next_cursor": following, "chain": chain})


class AuditExport(APIView):
    """`GET /api/v1/audit/export?format=csv|jsonl`: all that match, as a file."""

    def get(self, request: Request) -> StreamingHttpResponse:
        actor = _actor(request)
        asked = _asked(ExportQuery(data=request.query_params))
        format_ = asked.pop("format")
        audit.record("audit.exported", actor=actor.label, format=format_)
        return audit_export.answer(Search(**asked), format_)
