"""Knowledge bases and documents over the API."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
from rest_framework import serializers
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.policies import KNOWLEDGE_READ, KNOWLEDGE_WRITE
from core.errors import PaasError
from knowledge import access, bases, documents, generations, search
from knowledge.documents import Labels, Source
from knowledge.models import Document

MOST_TEXT = 2_000_000


class Checked(serializers.Serializer[Any]):
    """A body or a query: what it does not know is refused, with its name."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError({str(unknown[0]): ["Not a field here."]})
        return super().to_internal_value(data)


class KnowledgeList(APIView):
    """`GET, POST /api/v1/knowledge`"""

    def get(self, request: Request) -> Response:
        found = list(access.bases_for(actor_of(request, KNOWLEDGE_READ)).select_related("provider", "reranker"))
        counts = bases.counts_of([one.id for one in found])
        return Response({"knowledge": [bases.base_view(one, counts.get(one.id)) for one in found]})

    def post(self, request: Request) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        fields = object_of(request)
        slug = fields.pop("slug", None)
        if not isinstance(slug, str):
            raise PaasError("validation_failed", "slug: Name it, in small letters.", details={"param": "slug"})
        return Response(bases.base_view(bases.base_create(actor=actor, slug=slug, fields=fields)), status=201)


class KnowledgeDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/knowledge/{slug}`"""

    def get(self, request: Request, slug: str) -> Response:
        base = access.base_for(actor_of(request, KNOWLEDGE_READ), slug)
        return Response(bases.base_view(base, bases.counts_of([base.id]).get(base.id)))

    def patch(self, request: Request, slug: str) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        return Response(bases.base_view(bases.base_update(actor=actor, slug=slug, fields=object_of(request))))

    def delete(self, request: Request, slug: str) -> Response:
        bases.base_delete(actor=actor_of(request, KNOWLEDGE_WRITE), slug=slug)
        return Response(status=204)


class KnowledgeReindex(APIView):
    """`POST /api/v1/knowledge/{slug}/reindex`: reads all its documents anew, as its settings are now, or for another
    embeddings model"""

    class Body(Checked):
        provider = serializers.CharField(max_length=60, required=False, allow_blank=True)
        model = serializers.CharField(max_length=120, required=False)
        dimension = serializers.IntegerField(required=False)

    def post(self, request: Request, slug: str) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        access.base_for(actor, slug, write=True)
        model = valid(self.Body(data=object_of(request)))
        count = generations.base_reindex(actor=actor, slug=slug, model=model)
        return Response({"documents": count}, status=202)


class DocumentList(APIView):
    """`GET, POST /api/v1/knowledge/{slug}/documents`: newest first; POST takes a text or an address."""

    class Query(serializers.Serializer[Any]):
        state = serializers.ChoiceField(choices=Document.State.choices, required=False)
        limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
        before = serializers.UUIDField(default=None, allow_null=True)

    class Body(Checked):
        title = serializers.CharField(max_length=200, default="", allow_blank=True)
        text = serializers.CharField(max_length=MOST_TEXT, required=False)
        url = serializers.CharField(max_length=2000, required=False)
        tags = serializers.ListField(default=list)
        metadata = serializers.DictField(default=dict)

    def get(self, request: Request, slug: str) -> Response:
        base = access.base_for(actor_of(request, KNOWLEDGE_READ), slug)
        asked = valid(self.Query(data=request.query_params))
        found = base.documents.order_by("-id")
        found = found.filter(state=asked["state"]) if "state" in asked else found
        found = found.filter(id__lt=asked["before"]) if asked["before"] else found
        page = list(found[: asked["limit"] + 1])
        shown, more = page[: asked["limit"]], len(page) > asked["limit"]
        told = {"documents": [documents.document_view(one) for one in shown]}
        return Response(told | {"next_before": str(shown[-1].id) if more else None})

    def post(self, request: Request, slug: str) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        access.base_for(actor, slug, write=True)
        given = valid(self.Body(data=object_of(request)))
        source = _source(given)
        labels = Labels(given["tags"], given["metadata"])
        made = documents.documents_add(actor=actor, slug=slug, sources=[source], labels=labels)
        return Response(documents.document_view(made[0]), status=202)


class DocumentFiles(APIView):
    """`POST /api/v1/knowledge/{slug}/files`: multipart/form-data with one or several `file`, and `tags` and `metadata`
    as JSON for all of them."""

    parser_classes = (MultiPartParser,)

    def post(self, request: Request, slug: str) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        access.base_for(actor, slug, write=True)
        sources = _uploads(request)
        labels = Labels(_json(request, "tags", []), _json(request, "metadata", {}))
        made = documents.documents_add(actor=actor, slug=slug, sources=sources, labels=labels)
        return Response({"documents": [documents.document_view(one) for one in made]}, status=202)


class DocumentDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/knowledge/{slug}/documents/{id}`: how far it is; its title, tags and metadata"""

    class Body(Checked):
        title = serializers.CharField(max_length=200, required=False)
        tags = serializers.ListField(required=False)
        metadata = serializers.DictField(required=False)

    def get(self, request: Request, slug: str, document_id: uuid.UUID) -> Response:
        actor = actor_of(request, KNOWLEDGE_READ)
        return Response(documents.document_view(access.document_for(actor, slug, document_id)))

    def patch(self, request: Request, slug: str, document_id: uuid.UUID) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        access.document_for(actor, slug, document_id, write=True)
        given = valid(self.Body(data=object_of(request)))
        found = documents.document_label(actor=actor, slug=slug, document_id=document_id, fields=given)
        return Response(documents.document_view(found))

    def delete(self, request: Request, slug: str, document_id: uuid.UUID) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        documents.document_delete(actor=actor, slug=slug, document_id=document_id)
        return Response(status=204)


class DocumentReplace(APIView):
    """`POST /api/v1/knowledge/{slug}/documents/{id}/files`: one `file` in its place"""

    parser_classes = (MultiPartParser,)

    def post(self, request: Request, slug: str, document_id: uuid.UUID) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        access.document_for(actor, slug, document_id, write=True)
        sources = _uploads(request)
        if len(sources) != 1:
            raise PaasError("validation_failed", "Send one file.", details={"param": "file"})
        found = documents.document_replace(actor=actor, slug=slug, document_id=document_id, source=sources[0])
        return Response(documents.document_view(found), status=202)


class DocumentRetry(APIView):
    """`POST /api/v1/knowledge/{slug}/documents/{id}/retry`"""

    def post(self, request: Request, slug: str, document_id: uuid.UUID) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        found = documents.document_retry(actor=actor, slug=slug, document_id=document_id)
        return Response(documents.document_view(found), status=202)


class DocumentRefetch(APIView):
    """`POST /api/v1/knowledge/{slug}/documents/{id}/refetch`: its address once more"""

    def post(self, request: Request, slug: str, document_id: uuid.UUID) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        found = documents.document_refetch(actor=actor, slug=slug, document_id=document_id)
        return Response(documents.document_view(found), status=202)


class DocumentCancel(APIView):
    """`POST /api/v1/knowledge/{slug}/documents/{id}/cancel`"""

    def post(self, request: Request, slug: str, document_id: uuid.UUID) -> Response:
        actor = actor_of(request, KNOWLEDGE_WRITE)
        found = documents.document_cancel(actor=actor, slug=slug, document_id=document_id)
        return Response(documents.document_view(found))


class DocumentChunks(APIView):
    """`GET /api/v1/knowledge/{slug}/documents/{id}/chunks`: the passages, in order"""

    class Query(serializers.Serializer[Any]):
        after = serializers.IntegerField(min_value=0, default=0)
        limit = serializers.IntegerField(min_value=1, max_value=200, default=50)

    def get(self, request: Request, slug: str, document_id: uuid.UUID) -> Response:
        found = access.document_for(actor_of(request, KNOWLEDGE_READ), slug, document_id)
        asked = valid(self.Query(data=request.query_params))
        return Response({"chunks": documents.chunk_views(found, asked["after"], asked["limit"])})


class KnowledgeSearch(APIView):
    """`POST /api/v1/knowledge/{slug}/search`: passages, and why these"""

    class Body(Checked):
        query = serializers.CharField(max_length=search.MOST_QUERY)
        top_k = serializers.IntegerField(min_value=1, max_value=search.MOST_RESULTS, default=None)
        vector_weight = serializers.FloatField(min_value=0, max_value=1, default=None)
        keyword_weight = serializers.FloatField(min_value=0, max_value=1, default=None)
        tags = serializers.ListField(child=serializers.CharField(max_length=60), max_length=20, default=list)
        metadata = serializers.DictField(default=dict)
        neighbours = serializers.BooleanField(default=False)
        rerank = serializers.BooleanField(default=True)

    def post(self, request: Request, slug: str) -> Response:
        actor = actor_of(request, KNOWLEDGE_READ)
        access.base_for(actor, slug)
        given = valid(self.Body(data=object_of(request)))
        documents.check_labels(Labels(given["tags"], given["metadata"]))
        question = search.Question(**given | {"tags": tuple(given["tags"])})
        return Response({"passages": search.search(actor, slug, question)})


def _source(given: dict[str, Any]) -> Source:
    if ("text" in given) == ("url" in given):
        raise PaasError("validation_failed", "Send either `text` or `url`.", details={"param": "text"})
    if "url" in given:
        return Source(given["url"], url=given["url"], source=Document.Source.URL)
    return documents.text_source(given["title"], given["text"])


def _uploads(request: Request) -> list[Source]:
    try:
        sent = request.FILES.getlist("file")
    except (ParseError, UnsupportedMediaType):
        sentence = "Send the files as multipart/form-data, each in a field `file`."
        raise PaasError("validation_failed", sentence, details={"param": "file"}) from None
    return [Source(one.name or "file", one.size or 0, one.file) for one in sent]


def _json(request: Request, name: str, default: Any) -> Any:
    try:
        fields: Any = request.data
        sent = fields.get(name)
        return default if sent is None else orjson.loads(sent)
    except (orjson.JSONDecodeError, TypeError):
        raise PaasError("validation_failed", f"{name} is to be JSON.", details={"param": name}) from None


def object_of(request: Request) -> dict[str, Any]:
    """The body. Raises validation_failed for what is no object."""
    if not isinstance(request.data, dict):
        raise PaasError("validation_failed", "The body is to be an object.")
    return dict(request.data)


def valid(form: Any) -> dict[str, Any]:
    """What a serializer was given, checked. Raises ValidationError of DRF."""
    form.is_valid(raise_exception=True)
    found: dict[str, Any] = form.validated_data
    return found


def actor_of(request: Request, action: str) -> Actor:
    """The Actor that authentication found. Raises permission_denied."""
    assert isinstance(request.auth, Actor)
    request.auth.require(action)
    return request.auth
