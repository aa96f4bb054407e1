"""A tenant's accounts with model vendors over the API. A key goes in and never comes out."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import ProtectedError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.policies import ADMIN_SETTINGS
from core.errors import PaasError
from llm import selectors, services
from llm.catalog import known_models, model_info
from llm.models import ProviderAccount
from llm.registry import KEYED, NAMES


class Body(serializers.Serializer[Any]):
    """What can be set; for a change, only what is given. model: of a test, and never stored."""

    name = serializers.CharField(max_length=80)
    kind = serializers.CharField(max_length=40)
    base_url = serializers.CharField(max_length=500, required=False, allow_blank=True)
    api_key = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    models = serializers.DictField(required=False)
    allowed_models = serializers.ListField(child=serializers.CharField(max_length=120), required=False)
    enabled = serializers.BooleanField(required=False)


class Asked(Body):
    """A test: of values that are not stored, or of what is stored with some of them."""

    name = serializers.CharField(max_length=80, required=False)
    model = serializers.CharField(max_length=120, required=False, allow_blank=True)


def _actor(request: Request) -> Actor:
    assert isinstance(request.auth, Actor)
    request.auth.require(ADMIN_SETTINGS)
    return request.auth


def _given(serializer: type[Body], request: Request, *, partial: bool = False) -> Any:
    body = serializer(data=request.data, partial=partial)
    unknown = sorted(set(request.data) - set(body.fields)) if isinstance(request.data, dict) else []
    if unknown:
        fields = {name: ["Not a field of a model provider."] for name in unknown}
        raise PaasError("validation_failed", details={"fields": fields})
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _view(account: ProviderAccount) -> dict[str, Any]:
    return {
        "id": str(account.id),
        "name": account.name,
        "kind": account.kind,
        "base_url": account.base_url,
        "has_api_key": bool(account.api_key),
        "platform": account.of_platform,
        "models": account.models,
        "allowed_models": account.allowed_models,
        "enabled": account.enabled,
        "created_at": account.created_at.isoformat(),
        "updated_at": account.updated_at.isoformat(),
    }


def _invalid(error: ValidationError) -> PaasError:
    return PaasError("validation_failed", details={"fields": error.message_dict})


class ProviderKinds(APIView):
    """`GET /api/v1/providers/kinds`: what can be chosen, what each needs, and the models that are known of it."""

    def get(self, request: Request) -> Response:
        _actor(request)
        return Response({"kinds": [
            {
                "kind": kind,
                "name": name,
                "needs_api_key": kind in KEYED,
                "needs_base_url": kind == "openai_compatible",
                "models": known_models(kind),
            }
            for kind, name in NAMES.items()
        ]})  # fmt: skip


class ProviderList(APIView):
    """`GET, POST /api/v1/providers`"""

    @property
    def rate_class(self) -> str | None:
        """Writing is an act of administration."""
        return "admin" if self.request.method == "POST" else None

    def get(self, request: Request) -> Response:
        _actor(request)
        return Response({"providers": [_view(account) for account in selectors.providers()]})

    def post(self, request: Request) -> Response:
        actor = _actor(request)
        try:
            account = services.provider_create(actor=actor.label, **_given(Body, request))
        except ValidationError as error:
            raise _invalid(error) from None
        return Response(_view(account), status=201)


class ProviderDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/providers/{id}`"""

    def get(self, request: Request, provider_id: uuid.UUID) -> Response:
        _actor(request)
        return Response(_view(selectors.provider_by_id(provider_id)))

    def patch(self, request: Request, provider_id: uuid.UUID) -> Response:
        actor = _actor(request)
        account = selectors.provider_by_id(provider_id)
        try:
            services.provider_update(account, actor=actor.label, **_given(Body, request, partial=True))
        except ValidationError as error:
            raise _invalid(error) from None
        return Response(_view(account))

    def delete(self, request: Request, provider_id: uuid.UUID) -> Response:
        actor = _actor(request)
        try:
            services.provider_delete(selectors.provider_by_id(provider_id), actor=actor.label)
        except ProtectedError:
            said = "Versions of agents use this provider, and they are kept. Switch it off instead."
            raise PaasError("wrong_status", said) from None
        return Response(status=204)


class ProviderModels(APIView):
    """`GET /api/v1/providers/{id}/models`: the models that are known of an account, and what is known of them."""

    def get(self, request: Request, provider_id: uuid.UUID) -> Response:
        _actor(request)
        account = selectors.provider_by_id(provider_id)
        names = sorted({*known_models(account.kind), *account.models, *account.allowed_models})
        return Response({"models": [_model_view(account, name) for name in names]})


def _model_view(account: ProviderAccount, name: str) -> dict[str, Any]:
    info = model_info(account.kind, name, account.models)
    return {
        "model": name,
        "context_tokens": info.context_tokens,
        "max_output_tokens": info.max_output_tokens,
        "features": sorted(info.features),
        "embeddings": info.embeddings,
        "rerank": info.rerank,
        "own": name in account.models,
        "allowed": account.allows(name),
    }


class ProviderTest(APIView):
    """`POST /api/v1/providers/{id}/test`, and `/api/v1/providers/test` for values that are not stored."""

    rate_class = "admin"

    def post(self, request: Request, provider_id: uuid.UUID | None = None) -> Response:
        actor = _actor(request)
        account = None if provider_id is None else selectors.provider_by_id(provider_id)
        given = _given(Asked, request, partial=account is not None)
        model = given.pop("model", "")
        try:
            found = services.provider_test(actor=actor.label, account=account, model=model, **given)
        except ValidationError as error:
            raise _invalid(error) from None
        return Response({
            "ok": found.ok,
            "model": found.model,
            "milliseconds": found.milliseconds,
            "code": found.code or None,
            "message": found.message or None,
            "provider_message": found.provider_message or None,
        })  # fmt: skip
