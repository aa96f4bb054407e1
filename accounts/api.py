"""Who am I, over the API."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor


class Me(APIView):
    """`GET /api/v1/me`"""

    def get(self, request: Request) -> Response:
        actor = request.auth
        assert isinstance(actor, Actor)
        user = {"id": str(actor.user_id), "email": actor.email, "name": actor.name} if actor.user_id else None
        tenant = {"id": str(actor.tenant.id), "slug": actor.tenant.slug, "name": actor.tenant.name}
        return Response({"user": user, "role": actor.role, "scopes": sorted(actor.actions), "tenant": tenant})
