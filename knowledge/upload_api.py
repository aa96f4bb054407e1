"""Files in pieces over the API."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.policies import KNOWLEDGE_WRITE
from core.errors import PaasError
from knowledge import uploads
from knowledge.access import base_for
from knowledge.api import Checked, actor_of, object_of, valid
from knowledge.documents import Labels, document_view
from knowledge.models import Document
from knowledge.uploads import Announced, upload_view


class PieceParser(BaseParser):
    """A piece of a file: its bytes, one more than may be at most."""

    media_type = "application/octet-stream"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return stream.read(uploads.PIECE_BYTES + 1)


class UploadList(APIView):
    """`GET, POST /api/v1/knowledge/{slug}/uploads`: one's own that are not finished; begin one, or find it again"""

    class Body(Checked):
        name = serializers.CharField(max_length=500)
        size = serializers.IntegerField(min_value=0, max_value=2**53)
        sha256 = serializers.CharField(max_length=64, default="", allow_blank=True)
        tags = serializers.ListField(default=list)
        metadata = serializers.DictField(default=dict)
        replaces = serializers.UUIDField(default=None, allow_null=True)

    def get(self, request: Request, slug: str) -> Response:
        found = uploads.uploads_of(actor_of(request, KNOWLEDGE_WRITE), slug)
        return Response({"uploads": [upload_view(one) for one in found]})

    def post(self, request: Request, slug: str) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        base_for(actor, slug, write=True)
        given = valid(self.Body(data=object_of(request)))
        labels = Labels(given.pop("tags"), given.pop("metadata"))
        found = uploads.upload_begin(actor=actor, slug=slug, file=Announced(**given, labels=labels))
        return Response(upload_view(found), status=201)


class UploadDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/knowledge/{slug}/uploads/{id}`; PATCH: the next piece, `application/octet-stream`,
    with `Upload-Offset`; it answers `{upload, document}`, one of them null."""

    parser_classes = (PieceParser,)

    def get(self, request: Request, slug: str, upload_id: uuid.UUID) -> Response:
        return Response(upload_view(uploads.upload_for(actor_of(request, KNOWLEDGE_WRITE), slug, upload_id)))

    def patch(self, request: Request, slug: str, upload_id: uuid.UUID) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        uploads.upload_for(actor, slug, upload_id)
        offset, body = _offset(request), request.data
        data = body if isinstance(body, bytes) else b""  # DRF has an object for a body without a byte
        found = uploads.upload_piece(actor=actor, slug=slug, upload_id=upload_id, offset=offset, data=data)
        if isinstance(found, Document):
            return Response({"upload": None, "document": document_view(found)}, status=202)
        return Response({"upload": upload_view(found), "document": None})

    def delete(self, request: Request, slug: str, upload_id: uuid.UUID) -> Response:
        uploads.upload_delete(actor=actor_of(request, KNOWLEDGE_WRITE), slug=slug, upload_id=upload_id)
        return Response(status=204)


def _offset(request: Request) -> int:
    text = request.headers.get("Upload-Offset", "")
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        sentence = "Send the header Upload-Offset: how many bytes of the file went before."
        raise PaasError("validation_failed", sentence, details={"param": "Upload-Offset"})
    return int(text)
