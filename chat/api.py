"""Conversations over the API."""

from __future__ import annotations

import uuid
from typing import Any

from asgiref.sync import async_to_sync
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import tickets
from accounts.actors import Actor
from accounts.credentials import token_of
from accounts.policies import AGENTS_EXECUTE, CHAT_WRITE
from chat import feedback, search, selectors, services
from chat.beginnings import conversation_begin
from chat.models import Conversation
from core.errors import PaasError


def actor_of(request: Request) -> Actor:
    """The Actor that authentication found."""
    assert isinstance(request.auth, Actor)
    return request.auth


class ConversationList(APIView):
    """`GET, POST /api/v1/conversations`; GET with `q` searches; POST begins one in which nothing is said yet, so that
    files can be put in"""

    class New(serializers.Serializer[Any]):
        agent = serializers.CharField(max_length=60, default="", allow_blank=True)
        title = serializers.CharField(max_length=200, default="", allow_blank=True)

    class Query(serializers.Serializer[Any]):
        limit = serializers.IntegerField(min_value=1, max_value=100, default=30)
        cursor = serializers.CharField(max_length=200, default="", allow_blank=True)
        pinned = serializers.BooleanField(default=False)
        q = serializers.CharField(max_length=200, default="", allow_blank=True)

    def get(self, request: Request) -> Response:
        query = self.Query(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        if asked["q"]:
            found = search.conversations_found(actor_of(request), asked["q"], asked["limit"])
            return Response({"conversations": found, "next_cursor": None})
        page, following = selectors.conversation_page(
            actor_of(request), asked["cursor"], asked["limit"], pinned=asked["pinned"]
        )
        return Response({"conversations": [selectors.conversation_view(one) for one in page], "next_cursor": following})

    def post(self, request: Request) -> Response:
        actor = actor_of(request)
        actor.require(CHAT_WRITE)
        actor.require(AGENTS_EXECUTE)
        new = self.New(data=request.data)
        new.is_valid(raise_exception=True)
        asked = new.validated_data
        made = async_to_sync(conversation_begin)(actor, asked["agent"], title=asked["title"])
        return Response(selectors.conversation_view(selectors.conversation_for(actor, made)), status=201)


class ConversationDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/conversations/{id}`"""

    class Patch(serializers.Serializer[Any]):
        title = serializers.CharField(max_length=200, trim_whitespace=True, required=False)
        pinned = serializers.BooleanField(required=False)

        def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
            if not attrs:
                raise serializers.ValidationError("Say what to change: title or pinned.")
            return attrs

    def get(self, request: Request, conversation_id: uuid.UUID) -> Response:
        found = selectors.conversation_for(actor_of(request), conversation_id)
        return Response(selectors.conversation_view(found))

    def patch(self, request: Request, conversation_id: uuid.UUID) -> Response:
        patch = self.Patch(data=request.data)
        patch.is_valid(raise_exception=True)
        found = services.conversation_update(
            actor=actor_of(request), conversation_id=conversation_id, **patch.validated_data
        )
        return Response(selectors.conversation_view(found))

    def delete(self, request: Request, conversation_id: uuid.UUID) -> Response:
        services.conversation_delete(actor=actor_of(request), conversation_id=conversation_id)
        return Response(status=204)


class ConversationRestore(APIView):
    """`POST /api/v1/conversations/{id}/restore`: undo a delete."""

    def post(self, request: Request, conversation_id: uuid.UUID) -> Response:
        found = services.conversation_restore(actor=actor_of(request), conversation_id=conversation_id)
        return Response(selectors.conversation_view(found))


def _messages(actor: Actor, found: Conversation, *, every: bool = False) -> dict[str, Any]:
    """The answer of the two views below. every: those of the other branches too."""
    # The run first: one that ends in between is then shown with its message, not lost.
    running = selectors.active_run(found)
    found.refresh_from_db(fields=["leaf_id"])
    tree = selectors.tree_of(found)
    messages = selectors.messages_of(found, tree.order if every else tree.path)
    said = feedback.feedback_of(actor, found)
    views = [selectors.message_view(one, tree.siblings(one.id)) for one in messages]
    for one, view in zip(messages, views, strict=True):
        view["feedback"] = {"rating": said[one.id].rating, "comment": said[one.id].comment} if one.id in said else None
    return {
        "conversation": selectors.conversation_view(found) | selectors.active_view(running),
        "path": [str(one) for one in tree.path],
        "messages": views,
        "active_run": selectors.run_view(running) if running else None,
    }


class ConversationMessages(APIView):
    """`GET /api/v1/conversations/{id}/messages`: the shown path, or with `?all=true` every branch"""

    class Query(serializers.Serializer[Any]):
        all = serializers.BooleanField(default=False)

    def get(self, request: Request, conversation_id: uuid.UUID) -> Response:
        actor = actor_of(request)
        found = selectors.conversation_for(actor, conversation_id)
        query = self.Query(data=request.query_params)
        query.is_valid(raise_exception=True)
        return Response(_messages(actor, found, every=query.validated_data["all"]))


class ConversationActive(APIView):
    """`POST /api/v1/conversations/{id}/active`: show the branch of a message"""

    class Body(serializers.Serializer[Any]):
        message_id = serializers.UUIDField()

    def post(self, request: Request, conversation_id: uuid.UUID) -> Response:
        actor = actor_of(request)
        actor.require(CHAT_WRITE)
        selectors.conversation_for(actor, conversation_id)
        body = self.Body(data=request.data)
        body.is_valid(raise_exception=True)
        found = services.conversation_show(
            actor=actor, conversation_id=conversation_id, message_id=body.validated_data["message_id"]
        )
        return Response(_messages(actor, found))


class WebsocketTicket(APIView):
    """`POST /api/v1/ws-ticket`"""

    def post(self, request: Request) -> Response:
        # Asked for with a session and no key or token, it ends with the session.
        by_token = token_of({name.lower(): value for name, value in request.headers.items()}) is not None
        key = None if by_token else request._request.session.session_key
        return Response(
            {"ticket": tickets.issue(actor_of(request), key), "expires_in": tickets.TTL_SECONDS}, status=201
        )


class NotFound(APIView):
    """Any other address under /api/."""

    authentication_classes = ()
    permission_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise PaasError("not_found", f"There is no {request.path} here.")
