"""Files of conversations over the API. A download is a download: never shown by a browser, whatever is in it (A48)."""

from __future__ import annotations

import uuid

from django.http import HttpResponse
from django.utils.http import content_disposition_header
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import files
from chat.api import actor_of
from core.errors import PaasError


class FileList(APIView):
    """`GET, POST /api/v1/conversations/{id}/files`; POST takes multipart/form-data with one or several `file`."""

    parser_classes = (MultiPartParser,)

    def get(self, request: Request, conversation_id: uuid.UUID) -> Response:
        found = files.files_of(actor_of(request), conversation_id)
        return Response({"files": [files.file_view(one) for one in found], "most": files.MOST_FILES})

    def post(self, request: Request, conversation_id: uuid.UUID) -> Response:
        actor = actor_of(request)
        files.check_room(actor, conversation_id)
        try:
            sent = request.FILES.getlist("file")
        except (ParseError, UnsupportedMediaType):
            sentence = "Send the files as multipart/form-data, each in a field `file`."
            raise PaasError("validation_failed", sentence, details={"param": "file"}) from None
        uploads = [files.Upload(one.name or "file", one.size or 0, one.file) for one in sent]
        made = files.files_add(actor=actor, conversation_id=conversation_id, uploads=uploads)
        return Response({"files": [files.file_view(one) for one in made]}, status=201)


class FileDetail(APIView):
    """`GET, DELETE /api/v1/conversations/{id}/files/{file_id}`: the file itself"""

    def get(self, request: Request, conversation_id: uuid.UUID, file_id: uuid.UUID) -> HttpResponse:
        found = files.file_for(actor_of(request), conversation_id, file_id)
        with files.content_of(found) as content:
            answer = HttpResponse(content.read(), content_type="application/octet-stream")
        answer["Content-Disposition"] = content_disposition_header(True, found.name) or "attachment"
        answer["X-Content-Type-Options"] = "nosniff"
        answer["Cache-Control"] = "private, no-store"
        return answer

    def delete(self, request: Request, conversation_id: uuid.UUID, file_id: uuid.UUID) -> Response:
        files.file_delete(actor=actor_of(request), conversation_id=conversation_id, file_id=file_id)
        return Response(status=204)
