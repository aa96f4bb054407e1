"""Feedback over the API."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.policies import AGENTS_MANAGE, CHAT_READ, CHAT_WRITE
from chat import feedback
from chat.api import actor_of
from chat.models import Feedback


class MessageFeedback(APIView):
    """`PUT, DELETE /api/v1/messages/{id}/feedback`: what whoever asks thinks of an answer that they got."""

    class Body(serializers.Serializer[Any]):
        rating = serializers.ChoiceField(choices=Feedback.Rating.choices)
        comment = serializers.CharField(max_length=feedback.MOST_CHARS, default="", allow_blank=True)

    def put(self, request: Request, message_id: uuid.UUID) -> Response:
        actor = actor_of(request)
        actor.require(CHAT_WRITE)
        actor.require(CHAT_READ)
        body = self.Body(data=request.data)
        body.is_valid(raise_exception=True)
        found = feedback.feedback_put(actor=actor, message_id=message_id, **body.validated_data)
        return Response(feedback_view(found))

    def delete(self, request: Request, message_id: uuid.UUID) -> Response:
        feedback.feedback_delete(actor=actor_of(request), message_id=message_id)
        return Response(status=204)


class AgentFeedback(APIView):
    """`GET /api/v1/agents/{slug}/feedback?version=&rating=`: newest first, with how many each version has."""

    class Query(serializers.Serializer[Any]):
        version = serializers.IntegerField(min_value=0, max_value=10**9, default=None, allow_null=True)
        rating = serializers.ChoiceField(choices=["", *Feedback.Rating.values], default="", allow_blank=True)
        before = serializers.UUIDField(default=None, allow_null=True)
        limit = serializers.IntegerField(min_value=1, max_value=100, default=30)

    def get(self, request: Request, slug: str) -> Response:
        actor = actor_of(request)
        actor.require(AGENTS_MANAGE)
        query = self.Query(data=request.query_params)
        query.is_valid(raise_exception=True)
        page, following = feedback.feedback_page(actor, slug, **query.validated_data)
        shown = [_listed(one) for one in page]
        counts = feedback.feedback_counts(actor, slug)
        return Response({"feedback": shown, "counts": counts, "next_before": str(following) if following else None})


def feedback_view(found: Feedback) -> dict[str, Any]:
    """As its author sees it."""
    return {"rating": found.rating, "comment": found.comment, "updated_at": found.updated_at.isoformat()}


def _listed(found: Feedback) -> dict[str, Any]:
    return feedback_view(found) | {
        "id": str(found.id),
        "version": found.number,  # type: ignore[attr-defined]
        "message_id": str(found.message_id),
        "by": f"{'key' if found.by_key else 'user'}:{found.author_id}",
        "created_at": found.created_at.isoformat(),
    }
