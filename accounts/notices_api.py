"""What the operator tells a tenant's people, over the API."""

from __future__ import annotations

from django.utils.translation import get_language
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tenants import notices


class NoticeList(APIView):
    """`GET /api/v1/notices`: `{notices: [{id, level, title, text, ends_at}]}`, in the language of the request."""

    def get(self, request: Request) -> Response:
        language = get_language() or "en"
        return Response({"notices": [notices.view(one, language) for one in notices.notices_now()]})
