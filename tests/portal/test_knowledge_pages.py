"""The pages of knowledge, as an administrator and a reader use them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.messages.storage.fallback import FallbackStorage
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from knowledge.models import Document, KnowledgeBase
from portal import knowledge, knowledge_documents, knowledge_reader, knowledge_trial
from tests.accounts.people import within
from tests.chat.conftest import embedder, vendor  # noqa: F401 - fixtures
from tests.conftest import Platform
from tests.files import no_files  # noqa: F401 - a fixture
from tests.knowledge.conftest import bound, ingested, make, put
from tests.portal.test_agent_pages import form_of
from tests.portal.test_key_pages import Person

PLACE = "/settings/knowledge/"
BASE = f"{PLACE}docs/"
NEW = {
    "name": "Handbook <b>", "slug": "docs", "description": "Rules", "model": "", "dimension": "256",
    "access": "everybody", "chunk_size": "400", "chunk_overlap": "60", "vector_weight": "0.7",
    "keyword_weight": "0.3", "top_k": "6", "ocr": "auto", "ocr_chars": "30",
}  # fmt: skip
GUIDE = b"# Holidays\nThirty days a year.\n\n# Parking\nThe gate's code is <b>4711</b>.\n"


@pytest.fixture
async def admin(site: Any, no_files: None) -> Person:
    return Person(site, await site.signed_in("admin"))


async def test_a_base_is_made_set_and_deleted(admin: Person, db: Platform, actor: Any, embedder: None) -> None:
    assert "There is no knowledge base yet" in (await admin.get(PLACE))[1]
    _, page = await admin.get(f"{PLACE}new/")
    assert "finds words, not meanings" in page
    embeddings = {words: value for value, words in re.findall(r'<option value="([^"]+:[^"]+)">([^<]+)</option>', page)}
    for change, said in (
        ({"slug": "No!"}, "Use 1 to 60 small letters"),
        ({"slug": "new"}, "taken by a page"),
        ({"chunk_overlap": "300"}, "At most half"),
        ({"vector_weight": "0", "keyword_weight": "0"}, "above 0"),
        ({"top_k": "99"}, "less than or equal to 50"),
        ({"model": "nobody:x"}, "Select a valid choice"),
        ({"model": embeddings["vectors · embed-4"], "dimension": "512"}, "gave vectors of 4 numbers"),
        ({"model": embeddings["vectors · fault-500"]}, "provider"),
    ):
        status, page = await admin.post(f"{PLACE}new/", **NEW | change)
        assert (status, said in page) == (400, True), said
    _, page = await admin.post(f"{PLACE}new/", **NEW)
    assert ("Handbook &lt;b&gt; was made" in page, "Nothing is in it yet" in page) == (True, True)
    assert "short name already" in (await admin.post(f"{PLACE}new/", **NEW))[1]
    viewer = str(actor("viewer").user_id)
    changed = NEW | {"name": "Handbook", "access": "restricted", "roles": ["member"], "people": [viewer]}
    _, page = await admin.post(f"{BASE}settings/", **changed)
    base = within(db.acme, KnowledgeBase.objects.get)
    assert (base.name, base.access, base.roles, base.people) == ("Handbook", "restricted", ["member"], [viewer])
    assert ("was saved" in page, re.search(rf'value="{viewer}"[^>]* checked', page) is not None) == (True, True)
    # Somebody who has left is not forgotten by a form that does not know them.
    gone = "01234567-0000-7000-8000-000000000000"
    within(db.acme, lambda: KnowledgeBase.objects.update(people=[gone]))
    _, page = await admin.get(f"{BASE}settings/")
    assert f'value="{gone}"' in page
    assert "template=documents&amp;knowledge=docs" in page
    _, page = await admin.post(f"{BASE}delete/")
    assert "confirm it first" in page
    _, page = await admin.post(f"{BASE}delete/", sure="on")
    assert "Agents go on without it" in page
    assert within(db.acme, KnowledgeBase.objects.count) == 0


async def test_an_agent_that_answers_from_it(admin: Person, db: Platform, actor: Any) -> None:
    from agents.models import Agent

    make(actor("owner"))
    _, page = await admin.get("/settings/new-agent/?template=documents&knowledge=docs")
    assert (re.search(r'value="documents"[^>]* checked', page) is not None, "<code>docs</code>" in page) == (True, True)
    asked = {"template": "documents", "name": "Guide", "slug": "guide", "provider": "scripted", "model": "demo"}
    status, page = await admin.post("/settings/new-agent/", **asked, knowledge="nowhere")
    assert (status, "no knowledge base" in page) == (400, True)
    await admin.post("/settings/new-agent/", **asked, knowledge="docs")
    said = within(db.acme, lambda: Agent.objects.get(slug="guide").draft["content"])
    assert (said["knowledge"], [one["name"] for one in said["tools"]]) == (["docs"], ["search_knowledge"])
    assert "Guide" in (await admin.get(f"{BASE}settings/"))[1]
    # Its editor shows what it answers from, and lets go of it.
    _, page = await admin.get("/settings/agents/guide/")
    assert re.search(r'name="knowledge" value="docs"[^>]* checked', page)
    assert form_of(page)["knowledge"] == ["docs"]
    await admin.post("/settings/agents/guide/", **form_of(page, knowledge=[]))
    assert within(db.acme, lambda: Agent.objects.get(slug="guide").draft["content"])["knowledge"] == []


async def test_documents_from_text_to_deletion(admin: Person, db: Platform, actor: Any) -> None:
    owner = actor("owner")
    make(owner)
    text = {"what": "text", "title": "Rules", "text": "# Lifts\nNo more than four.", "tags": "house, 房"}
    for change, said in (
        ({"text": ""}, "required"),
        ({"tags": "x" * 61}, "characters"),
        ({"what": "url", "url": "ftp://x"}, "whole address"),
        ({"what": "url", "url": "http://127.0.0.1/"}, "address"),
    ):
        status, page = await admin.post(f"{BASE}add/", **text | change)
        assert (status, said in page) == (400, True), said
    _, page = await admin.post(f"{BASE}add/", **text)
    assert ("It was taken in" in page, "Waiting" in page, "房" in page) == (True, True, True)
    put(owner, "docs", ("guide.md", GUIDE), ("broken.pdf", b"%PDF-1.4 nothing"), tags=["hr"])
    await ingested(owner)
    ids = {one.title: one.id for one in within(db.acme, lambda: list(Document.objects.all()))}
    titles = {"Rules.md", "guide.md", "broken.pdf"}
    for query, shown in (
        ("", titles), ("?text=GUIDE", {"guide.md"}), ("?tag=hr", {"guide.md", "broken.pdf"}),
        ("?state=failed", {"broken.pdf"}), ("?state=waiting", set()), ("?tag=hr&text=b", {"broken.pdf"}),
        (f"?before={ids['guide.md']}", {"Rules.md"}), ("?before=x&tag=none", titles),
    ):  # fmt: skip
        status, page = await admin.get(BASE + query)
        assert {one for one in titles if f">{one}</a>" in page} == shown, query
    assert "PDF, Excel, CSV, JSON, Markdown, text, Word, PowerPoint, HTML" in page
    assert ("Try all failed ones again" in page, "damaged" in page) == (True, True)
    broken = f"{BASE}documents/{ids['broken.pdf']}/"
    _, page = await admin.post(f"{broken}retry/", back="document")
    assert ("It is tried again" in page, "Waiting" in page) == (True, True)
    _, page = await admin.post(f"{broken}retry/", query="tag=hr&state=//evil.example")
    assert "Only a document that failed" in page
    _, page = await admin.post(f"{broken}cancel/")
    assert within(db.acme, lambda: Document.objects.get(title="broken.pdf").state) == "cancelled"
    within(db.acme, lambda: Document.objects.filter(title="broken.pdf").update(state="failed"))
    _, page = await admin.post(f"{BASE}retry/")
    assert "tried again: 1." in page
    guide = f"{BASE}documents/{ids['guide.md']}/"
    _, page = await admin.get(guide)
    assert ("Passage 2 of 2" in page, "&lt;b&gt;4711" in page, "Thirty days" in page) == (True, True, True)
    labels = {"title": "Guide", "tags": "a，b", "metadata": 'year: 2026\nkind: law\nnumber: "7"\nodd: NaN'}
    status, page = await admin.post(guide, **labels | {"metadata": "nonsense"})
    assert (status, "One to a line" in page) == (400, True)
    _, page = await admin.post(guide, **labels)
    row = within(db.acme, lambda: Document.objects.get(title="Guide"))
    assert (row.tags, row.metadata) == (["a", "b"], {"year": 2026, "kind": "law", "number": "7", "odd": "NaN"})
    assert "number: &quot;7&quot;" in page
    assert (await admin.post(f"{guide}fetch/"))[0] == 400
    _, page = await admin.post(f"{guide}delete/", query="tag=hr")
    assert ("was deleted" in page, ">Guide</a>" in page) == (True, False)
    assert (await admin.get(guide))[0] == 404


async def test_questions_and_why(admin: Person, actor: Any) -> None:
    owner = actor("owner")
    make(owner)
    put(owner, "docs", ("guide.md", GUIDE), ("copy.md", GUIDE), ("other.md", b"The canteen opens at noon."))
    await ingested(owner)
    ask = f"{BASE}try/"
    assert (await admin.post(ask, query=" "))[0] == 400
    status, page = await admin.post(ask, query="x", vector_weight="0", keyword_weight="0")
    assert (status, "above 0" in page) == (400, True)
    _, page = await admin.post(ask, query="What is the code of the gate?")
    best = page[page.index('data-testid="found-passage"') :]
    best = best[: best.index("</ul>")]
    for said in ("By vectors: place 1", "By words: place 1", "<strong>100</strong>", "4711", "?passage=2", "copy.md"):
        assert said in best, said
    _, page = await admin.post(ask, query="gate", tags="none")
    assert 'data-testid="nothing-found"' in page
    _, page = await admin.post(ask, query="noon", vector_weight="0", keyword_weight="1")
    assert "By vectors: not among the nearest." in page


async def test_a_reader_opens_a_cited_passage(admin: Person, site: Any, db: Platform, actor: Any) -> None:
    """A48 for the file; who may read the base reads it, and for others it is not there."""
    owner = actor("owner")
    make(owner, access="restricted", roles=["viewer"], chunk_size=50, chunk_overlap=0)
    long = b"".join(b"# Part %d\n%s\n" % (number, b"Some words of it. " * 5) for number in range(1, 51))
    put(owner, "docs", ("<script>.html", b"<html><script>x</script><p>Hello</p>"), ("long.md", long))
    await ingested(owner)
    ids = {one.title: one.id for one in within(db.acme, lambda: list(Document.objects.all()))}
    viewer, member = [Person(site, await site.signed_in(name)) for name in ("viewer", "member")]
    place = f"/knowledge/docs/documents/{ids['long.md']}/"
    _, page = await viewer.get(f"{place}?passage=42")
    cited = page[page.index('id="passage-42"') : page.index('id="passage-43"')]
    assert ("data-cited" in cited, "Part 42" in cited, "Part 40" in page, "Page 2 of 2" in page) == (
        True,
        True,
        False,
        True,
    )
    assert page.count("data-cited") == 1
    assert "Part 1<" in (await viewer.get(f"{place}?page=1"))[1]
    assert "not there any more" in (await viewer.get(f"{place}?passage=99"))[1]
    assert (await viewer.get(f"{place}?passage=x&page=-7"))[0] == 200
    assert "Manage it" not in page
    assert "Manage it" in (await admin.get(place))[1]
    file = f"/knowledge/docs/documents/{next(one for name, one in ids.items() if name != 'long.md')}/file/"
    async with viewer.session.get(file) as answer:
        assert (answer.status, await answer.read()) == (200, b"<html><script>x</script><p>Hello</p>")
        told = {
            name: answer.headers[name] for name in ("Content-Type", "Content-Disposition", "X-Content-Type-Options")
        }
    assert told == {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": 'attachment; filename="script.html"',
        "X-Content-Type-Options": "nosniff",
    }
    assert {(await member.get(one))[0] for one in (place, file)} == {404}
    bound(owner, lambda: Document.objects.filter(id=ids["long.md"]).update(live_version=0, key=""))
    assert "Nothing of it can be read yet" in (await viewer.get(place))[1]
    assert (await viewer.get(f"{place}file/"))[0] == 404


@pytest.mark.exhaustive
async def test_few_queries_a_page(db: Platform, actor: Any, no_files: None) -> None:
    """Who asks (2), what the side bar counts (1) and warns of, the base and what is in it; never one for each row."""
    owner = actor("owner")
    make(owner)
    put(owner, "docs", *((f"{number}.md", b"Some words.") for number in range(12)))
    await ingested(owner)
    one = within(db.acme, lambda: Document.objects.first())
    question = {"query": "words"}
    for view, most, kwargs, data in (
        (knowledge.index, 8, {}, None),
        (knowledge.settings, 12, {"slug": "docs"}, None),
        (knowledge_documents.index, 10, {"slug": "docs"}, None),
        (knowledge_documents.one, 10, {"slug": "docs", "document_id": one.id}, None),
        (knowledge_trial.attempt, 12, {"slug": "docs"}, question),
        (knowledge_reader.read, 8, {"slug": "docs", "document_id": one.id}, None),
    ):
        count = within(db.acme, lambda view=view, kwargs=kwargs, data=data: queries(db, owner, view, kwargs, data))
        assert count <= most, (view.__name__, count)


def queries(db: Platform, who: Any, view: Any, kwargs: Any, data: Any) -> int:
    """How many statements a page takes."""
    request: Any = RequestFactory().post("/x/", data) if data else RequestFactory().get("/x/")
    request.user, request.tenant = User.objects.get(pk=who.user_id), db.acme
    request.session = {}
    request._messages, request._dont_enforce_csrf_checks = FallbackStorage(request), True
    with CaptureQueriesContext(connection) as captured:
        assert view(request, **kwargs).status_code == 200
    return len(captured)
