"""The routes of knowledge bases and documents on a tenant's host: for whom they are, and what they do with foreign ids."""

from __future__ import annotations

from accounts.policies import CHAT_READ, KNOWLEDGE_READ, KNOWLEDGE_WRITE
from tests.contracts.declaring import KNOWLEDGE, Access, Declared, api, page

PAGES = "/settings/knowledge/<str:slug>/"
DOCUMENT = f"{PAGES}documents/<uuid:document_id>/"
READER = "/knowledge/<str:slug>/documents/<uuid:document_id>/"
MANAGED, READ = page(GET=KNOWLEDGE, POST=KNOWLEDGE), page(GET=f"{CHAT_READ} {KNOWLEDGE_READ}")

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
    "/api/v1/knowledge/<str:slug>/uploads": api(GET=KNOWLEDGE, POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/uploads/<uuid:upload_id>": api(GET=KNOWLEDGE, PATCH=KNOWLEDGE, DELETE=KNOWLEDGE),
    "/settings/knowledge/": page(GET=KNOWLEDGE),
    "/settings/knowledge/new/": MANAGED,
    PAGES: page(GET=KNOWLEDGE),
    f"{PAGES}add/": MANAGED,
    f"{PAGES}try/": MANAGED,
    f"{PAGES}settings/": MANAGED,
    f"{PAGES}delete/": page(POST=KNOWLEDGE),
    f"{PAGES}retry/": page(POST=KNOWLEDGE),
    DOCUMENT: MANAGED,
    **{f"{DOCUMENT}{act}/": page(POST=KNOWLEDGE) for act in ("retry", "cancel", "delete", "fetch")},
    READER: READ,
    f"{READER}file/": READ,
    f"{READER}picture/": READ,
}
BASE, BOTH = {"slug": "knowledge"}, {"slug": "knowledge", "document_id": "document"}
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
    "/api/v1/knowledge/<str:slug>/uploads": Declared(
        "by_id", ("GET", "POST"), {"slug": "knowledge"}, {"name": "x", "size": 1}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/uploads/<uuid:upload_id>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"slug": "knowledge", "upload_id": "upload"}
    ),
    "/settings/knowledge/": Declared("own", page=True),
    "/settings/knowledge/new/": Declared("own", ("GET", "POST"), page=True),
    PAGES: Declared("by_id", ids=BASE, page=True, of_tenant=True),
    **{
        f"{PAGES}{part}/": Declared("by_id", ("GET", "POST"), BASE, page=True, of_tenant=True)
        for part in ("add", "try", "settings")
    },
    f"{PAGES}delete/": Declared("by_id", ("POST",), BASE, {"sure": "on"}, page=True, of_tenant=True),
    f"{PAGES}retry/": Declared("by_id", ("POST",), BASE, page=True, of_tenant=True),
    DOCUMENT: Declared("by_id", ("GET", "POST"), BOTH, page=True, of_tenant=True),
    **{
        f"{DOCUMENT}{act}/": Declared("by_id", ("POST",), BOTH, page=True, of_tenant=True)
        for act in ("retry", "cancel", "delete", "fetch")
    },
    READER: Declared("by_id", ids=BOTH, page=True, of_tenant=True),
    f"{READER}file/": Declared("by_id", ids=BOTH, page=True, of_tenant=True),
    f"{READER}picture/": Declared("by_id", ids=BOTH, page=True, of_tenant=True, lacks="There is no picture of"),
}
