"""API keys over the API. Here and not in accounts, because a key is shown with what it has used."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import key_selectors, keys
from accounts.actors import Actor
from accounts.key_limits import MAX_DEPTH, MOST_ENTRIES, MOST_TOKENS
from accounts.key_selectors import KeyRow
from accounts.policies import ADMIN_KEYS
from core.errors import PaasError
from usage.selectors import tokens_of_keys


def _words(most: int) -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(max_length=most), max_length=MOST_ENTRIES, required=False)


class Fields(serializers.Serializer[Any]):
    """What may be sent of a key; see accounts.key_limits.Limits."""

    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(child=serializers.CharField(max_length=40), max_length=MOST_ENTRIES)
    agents = _words(60)
    models = _words(120)
    networks = _words(60)
    tokens_per_month = serializers.IntegerField(min_value=1, max_value=MOST_TOKENS, allow_null=True, required=False)
    expires_at = serializers.DateTimeField(allow_null=True, required=False)


class NewKey(Fields):
    parent_id = serializers.UUIDField(allow_null=True, required=False)


def _actor(request: Request) -> Actor:
    assert isinstance(request.auth, Actor)
    request.auth.require(ADMIN_KEYS)
    return request.auth


def _asked(fields: serializers.Serializer[Any], data: Any) -> dict[str, Any]:
    unknown = sorted(set(data) - set(fields.fields)) if isinstance(data, dict) else []
    if unknown:  # somebody who misspells a limit must not get a key without it
        raise PaasError("validation_failed", details={"fields": {name: ["Not a field of a key."] for name in unknown}})
    fields.is_valid(raise_exception=True)
    return dict(fields.validated_data)


def refusal(error: ValidationError) -> PaasError:
    """A refused row as an error of the API."""
    fields = error.message_dict if hasattr(error, "error_dict") else {"token": error.messages}
    if any(one.code == "unique" for one in getattr(error, "error_dict", {}).get("name", ())):
        return PaasError("already_exists", keys.NAME_TAKEN, details={"param": "name"})
    return PaasError("validation_failed", details={"fields": fields})


def view_of(row: KeyRow, used: dict[uuid.UUID, int]) -> dict[str, Any]:
    """A key as the API shows it. actions: what it may really do now. Tokens are of this month (UTC)."""
    key, rights, maker = row.key, row.rights, row.key.created_by
    spent = used.get(key.pk)
    return {
        "id": str(key.pk),
        "parent_id": str(key.parent_id) if key.parent_id else None,
        "name": key.name,
        "hint": key.hint,
        "state": row.state,
        "scopes": key.scopes,
        "actions": sorted(rights.actions) if rights else [],
        "agents": key.allowed_agents,
        "models": key.allowed_models,
        "networks": key.allowed_networks,
        "tokens_per_month": key.tokens_per_month,
        "tokens_used": spent,
        "tokens_left": max(0, key.tokens_per_month - spent) if key.tokens_per_month and spent is not None else None,
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "created_by": {"id": str(maker.pk), "email": maker.email} if maker else None,
        "created_at": key.created_at.isoformat(),
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
    }


def _answer(actor: Actor, key_id: uuid.UUID, token: str = "", status: int = 200) -> Response:
    row = key_selectors.row_for(actor, key_id)
    found = {"key": view_of(row, tokens_of_keys([row.key]))} | ({"token": token} if token else {})
    return Response(found, status=status, headers={"Cache-Control": "no-store"})


class KeyList(APIView):
    """`GET, POST /api/v1/keys`"""

    rate_class = "admin"

    def get(self, request: Request) -> Response:
        rows = key_selectors.keys_for(_actor(request))
        used = tokens_of_keys([row.key for row in rows])
        return Response({"keys": [view_of(row, used) for row in rows], "count": len(rows), "max_depth": MAX_DEPTH})

    def post(self, request: Request) -> Response:
        actor = _actor(request)
        asked = _asked(NewKey(data=request.data), request.data)
        parent = key_selectors.parent_for(actor, asked.pop("parent_id", None))
        try:
            key, token = keys.key_create(**asked, parent=parent, created_by=actor.user_id, actor=actor.label)
        except ValidationError as error:
            raise refusal(error) from None
        return _answer(actor, key.pk, token, status=201)


class KeyDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/keys/{id}`"""

    rate_class = "admin"

    def get(self, request: Request, key_id: uuid.UUID) -> Response:
        return _answer(_actor(request), key_id)

    def patch(self, request: Request, key_id: uuid.UUID) -> Response:
        actor = _actor(request)
        key = key_selectors.changeable_for(actor, key_id)
        asked = _asked(Fields(data=request.data, partial=True), request.data)
        try:
            keys.key_update(key=key, actor=actor.label, **asked)
        except ValidationError as error:
            raise refusal(error) from None
        return _answer(actor, key_id)

    def delete(self, request: Request, key_id: uuid.UUID) -> Response:
        actor = _actor(request)
        keys.key_revoke(key=key_selectors.changeable_for(actor, key_id), actor=actor.label)
        return Response(status=204)


class KeyRotation(APIView):
    """`POST /api/v1/keys/{id}/rotate`"""

    rate_class = "admin"

    def post(self, request: Request, key_id: uuid.UUID) -> Response:
        actor = _actor(request)
        with transaction.atomic():
            token = keys.key_rotate(key=key_selectors.changeable_for(actor, key_id), actor=actor.label)
        return _answer(actor, key_id, token)
