"""Who am I, over the API, and where am I signed in."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import profile
from accounts.actors import Actor
from accounts.credentials import token_of
from core.errors import PaasError


def _person(request: Request) -> tuple[Actor, uuid.UUID]:
    """The Actor and the person that it is. Raises permission_denied for an API key, which has no profile, and
    impersonation_forbids for an operator who acts as the person, whose profile is theirs alone."""
    actor = request.auth
    assert isinstance(actor, Actor)
    if actor.user_id is None:
        raise PaasError("permission_denied", "An API key has no profile and no sessions.")
    if actor.impersonator is not None:
        raise PaasError("impersonation_forbids")
    return actor, actor.user_id


def _session_key(request: Request) -> str | None:
    by_token = token_of({name.lower(): value for name, value in request.headers.items()}) is not None
    return None if by_token else request._request.session.session_key


class Me(APIView):
    """`GET, PATCH /api/v1/me`"""

    class Patch(serializers.Serializer[Any]):
        name = serializers.CharField(max_length=120, required=False, allow_blank=True)
        language = serializers.ChoiceField(choices=["", *dict(settings.LANGUAGES)], required=False, allow_blank=True)
        approval_mails = serializers.BooleanField(required=False)

    def get(self, request: Request) -> Response:
        actor = request.auth
        assert isinstance(actor, Actor)
        user = {"id": str(actor.user_id), "email": actor.email, "name": actor.name} if actor.user_id else None
        tenant = {"id": str(actor.tenant.id), "slug": actor.tenant.slug, "name": actor.tenant.name}
        return Response({"user": user, "role": actor.role, "scopes": sorted(actor.actions), "tenant": tenant})

    def patch(self, request: Request) -> Response:
        actor, user_id = _person(request)
        patch = self.Patch(data=request.data)
        patch.is_valid(raise_exception=True)
        if patch.validated_data:
            profile.person_update(user_id=user_id, actor=actor.label, **patch.validated_data)
        user = profile.person_of(user_id)
        shown = ("email", "name", "language", "approval_mails")
        view = {"id": str(user.id)} | {name: getattr(user, name) for name in shown}
        return Response({"user": view})


class MySessions(APIView):
    """`GET /api/v1/me/sessions`: on this host, the present one first; `elsewhere` counts those on other hosts."""

    def get(self, request: Request) -> Response:
        _, user_id = _person(request)
        lines, elsewhere = profile.sessions_of(user_id, _session_key(request))
        return Response({"sessions": [line.view() for line in lines], "elsewhere": elsewhere})


class MySession(APIView):
    """`DELETE /api/v1/me/sessions/{id}`: end one on this host."""

    def delete(self, request: Request, session_id: uuid.UUID) -> Response:
        actor, user_id = _person(request)
        profile.session_end(user_id=user_id, session_id=session_id, actor=actor.label)
        return Response(status=204)


class SignOutEverywhere(APIView):
    """`POST /api/v1/me/sign-out-everywhere`: end all sessions and tokens, on every host, this one's too."""

    def post(self, request: Request) -> Response:
        actor, user_id = _person(request)
        profile.sign_out_everywhere(user_id=user_id, actor=actor.label)
        return Response(status=204)
