"""A tenant's people over the API."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import invitations, member_selectors, members
from accounts.actors import Actor
from accounts.models import Role
from accounts.policies import ADMIN_MEMBERS, ADMIN_OWNER
from core.errors import PaasError


def _actor(request: Request) -> Actor:
    assert isinstance(request.auth, Actor)
    return request.auth


def _manager(request: Request) -> Actor:
    actor = _actor(request)
    actor.require(ADMIN_MEMBERS)
    return actor


def _given(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _member(user_id: uuid.UUID) -> Response:
    found = member_selectors.member_of(user_id)
    if found is None:  # gone meanwhile
        raise PaasError("not_found")
    return Response(found.view())


class MemberList(APIView):
    """`GET /api/v1/members`: who joined first comes first; `next_cursor` is where to go on."""

    class Query(serializers.Serializer[Any]):
        text = serializers.CharField(max_length=200, default="", allow_blank=True)
        limit = serializers.IntegerField(min_value=1, max_value=500, default=100)
        cursor = serializers.UUIDField(default=None, allow_null=True)

    def get(self, request: Request) -> Response:
        _manager(request)
        asked = _given(self.Query(data=request.query_params))
        found, following = member_selectors.member_page(text=asked["text"], after=asked["cursor"], limit=asked["limit"])
        return Response(
            {
                "members": [one.view() for one in found],
                "next_cursor": str(following) if following else None,
                "places": member_selectors.places().view(),
            }
        )


class MemberDetail(APIView):
    """`PATCH, DELETE /api/v1/members/{user_id}`"""

    class Patch(serializers.Serializer[Any]):
        role = serializers.ChoiceField(choices=Role.values)

    class Query(serializers.Serializer[Any]):
        keep_keys = serializers.BooleanField(default=False)

    def patch(self, request: Request, user_id: uuid.UUID) -> Response:
        actor = _manager(request)
        members.member_role_change(actor=actor, user_id=user_id, role=_given(self.Patch(data=request.data))["role"])
        return _member(user_id)

    def delete(self, request: Request, user_id: uuid.UUID) -> Response:
        actor = _manager(request)
        keep_keys = _given(self.Query(data=request.query_params))["keep_keys"]
        members.member_remove(actor=actor, user_id=user_id, keep_keys=keep_keys)
        return Response(status=204)


class Leave(APIView):
    """`POST /api/v1/members/leave`"""

    def post(self, request: Request) -> Response:
        members.member_leave(actor=_actor(request))
        return Response(status=204)


class OwnerTransfer(APIView):
    """`POST /api/v1/owner-transfer`"""

    class Body(serializers.Serializer[Any]):
        user_id = serializers.UUIDField()
        step_down = serializers.BooleanField(default=False)

    def post(self, request: Request) -> Response:
        _actor(request).require(ADMIN_OWNER)  # before a word is said about the body
        actor = _manager(request)
        given = _given(self.Body(data=request.data))
        members.owner_transfer(actor=actor, user_id=given["user_id"], step_down=given["step_down"])
        return _member(given["user_id"])


class InvitationList(APIView):
    """`GET, POST /api/v1/invitations`"""

    class Body(serializers.Serializer[Any]):
        email = serializers.CharField(max_length=254)
        role = serializers.ChoiceField(choices=Role.values, default=Role.MEMBER)

    def get(self, request: Request) -> Response:
        _manager(request)
        found = member_selectors.waiting_invitations()
        return Response(
            {
                "invitations": [member_selectors.invitation_view(one) for one in found],
                "places": member_selectors.places().view(),
            }
        )

    def post(self, request: Request) -> Response:
        actor = _manager(request)
        given = _given(self.Body(data=request.data))
        try:
            made = invitations.invitation_create(actor=actor, email=given["email"], role=given["role"])
        except ValidationError as error:
            raise PaasError(
                "validation_failed", " ".join(error.messages), details={"fields": error.message_dict}
            ) from None
        return Response(member_selectors.invitation_view(made), status=201)


class InvitationDetail(APIView):
    """`DELETE /api/v1/invitations/{id}`"""

    def delete(self, request: Request, invitation_id: uuid.UUID) -> Response:
        invitations.invitation_revoke(actor=_manager(request), invitation_id=invitation_id)
        return Response(status=204)


class InvitationResend(APIView):
    """`POST /api/v1/invitations/{id}/resend`"""

    def post(self, request: Request, invitation_id: uuid.UUID) -> Response:
        sent = invitations.invitation_resend(actor=_manager(request), invitation_id=invitation_id)
        return Response(member_selectors.invitation_view(sent))
