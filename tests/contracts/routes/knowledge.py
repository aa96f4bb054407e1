"""The routes of knowledge bases and documents on a tenant's host: for whom they are, and what they do with foreign ids."""

from __future__ import annotations

from accounts.policies import KNOWLEDGE_READ, KNOWLEDGE_WRITE
from tests.contracts.declaring import KNOWLEDGE, Access, Declared, api

ACCESS: dict[str, Access] = {
    "/api/v1/knowledge": api(GET=KNOWLEDGE_READ, POST=KNOWLEDGE_WRITE),
    "/api/v1/knowledge/<str:slug>": api(GET=KNOWLEDGE_READ, PATCH=KNOWLEDGE, DELETE=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/search": api(POST=KNOWLEDGE_READ),
    "/api/v1/knowledge/<str:slug>/reindex": api(POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/files": api(POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents": api(GET=KNOWLEDGE_READ, POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>": api(
        GET=KNOWLEDGE_READ, PATCH=KNOWLEDGE, DELETE=KNOWLEDGE
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/files": api(POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/retry": api(POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/refetch": api(POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/cancel": api(POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/chunks": api(GET=KNOWLEDGE_READ),
}
TENANCY: dict[str, Declared] = {
    "/api/v1/knowledge": Declared("own", ("GET", "POST")),
    "/api/v1/knowledge/<str:slug>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"slug": "knowledge"}, {"name": "stolen"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/search": Declared(
        "by_id", ("POST",), {"slug": "knowledge"}, {"query": "x"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/reindex": Declared("by_id", ("POST",), {"slug": "knowledge"}, of_tenant=True),
    "/api/v1/knowledge/<str:slug>/files": Declared("by_id", ("POST",), {"slug": "knowledge"}, of_tenant=True),
    "/api/v1/knowledge/<str:slug>/documents": Declared(
        "by_id", ("GET", "POST"), {"slug": "knowledge"}, {"text": "x"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>": Declared(
        "by_id",
        ("GET", "PATCH", "DELETE"),
        {"slug": "knowledge", "document_id": "document"},
        {"title": "stolen"},
        of_tenant=True,
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/files": Declared(
        "by_id", ("POST",), {"slug": "knowledge", "document_id": "document"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/retry": Declared(
        "by_id", ("POST",), {"slug": "knowledge", "document_id": "document"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/refetch": Declared(
        "by_id", ("POST",), {"slug": "knowledge", "document_id": "document"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/cancel": Declared(
        "by_id", ("POST",), {"slug": "knowledge", "document_id": "document"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/chunks": Declared(
        "by_id", ids={"slug": "knowledge", "document_id": "document"}, of_tenant=True
    ),
}
