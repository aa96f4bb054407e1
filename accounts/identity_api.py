"""A tenant's own identity providers over the API. A client secret goes in and never comes out."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import identity_providers
from accounts.actors import Actor
from accounts.identity_providers import JOIN_ROLES, callback_address
from accounts.models import IdentityProvider
from accounts.policies import ADMIN_SETTINGS
from core.errors import PaasError


class Body(serializers.Serializer[Any]):
    """What can be set; for a change, only what is given."""

    name = serializers.CharField(max_length=60)
    issuer = serializers.CharField(max_length=300)
    client_id = serializers.CharField(max_length=300)
    client_secret = serializers.CharField(max_length=1000, required=False, allow_blank=True, trim_whitespace=True)
    email_domains = serializers.ListField(child=serializers.CharField(max_length=254), required=False)
    join_role = serializers.ChoiceField(choices=["", *(str(role) for role in JOIN_ROLES)], required=False)
    enabled = serializers.BooleanField(required=False)


def _actor(request: Request) -> Actor:
    assert isinstance(request.auth, Actor)
    request.auth.require(ADMIN_SETTINGS)
    return request.auth


def _given(request: Request, *, partial: bool = False) -> Any:
    body = Body(data=request.data, partial=partial)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _view(row: IdentityProvider) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "issuer": row.issuer,
        "client_id": row.client_id,
        "has_client_secret": bool(row.client_secret),
        "email_domains": row.email_domains,
        "join_role": row.join_role,
        "enabled": row.enabled,
        "redirect_uri": callback_address(str(row.tenant_id)),
        "created_at": row.created_at.isoformat(),
    }


def _invalid(error: ValidationError) -> PaasError:
    return PaasError("validation_failed", details={"fields": error.message_dict})


class ProviderList(APIView):
    """`GET, POST /api/v1/identity-providers`"""

    def get(self, request: Request) -> Response:
        _actor(request)
        return Response({"identity_providers": [_view(row) for row in identity_providers.own_providers()]})

    def post(self, request: Request) -> Response:
        actor = _actor(request)
        try:
            row = identity_providers.provider_create(actor=actor, **_given(request))
        except ValidationError as error:
            raise _invalid(error) from None
        return Response(_view(row), status=201)


class ProviderDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/identity-providers/<id>`"""

    def get(self, request: Request, provider_id: uuid.UUID) -> Response:
        _actor(request)
        return Response(_view(identity_providers.own_provider(provider_id)))

    def patch(self, request: Request, provider_id: uuid.UUID) -> Response:
        actor = _actor(request)
        row = identity_providers.own_provider(provider_id)
        try:
            row = identity_providers.provider_update(row=row, actor=actor, **_given(request, partial=True))
        except ValidationError as error:
            raise _invalid(error) from None
        return Response(_view(row))

    def delete(self, request: Request, provider_id: uuid.UUID) -> Response:
        actor = _actor(request)
        identity_providers.provider_delete(row=identity_providers.own_provider(provider_id), actor=actor)
        return Response(status=204)
