"""Where documents come from, and how many there may be: folders, addresses, several at once, limits."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from agents.counts import counted
from core import metrics
from core.errors import PaasError
from knowledge import documents, jobs, search
from knowledge.bases import base_set
from knowledge.documents import Labels, Source, documents_add
from knowledge.models import Document
from knowledge.search import Question
from tenants import scope
from tenants.models import Limit
from tests.chat.ledger import Ledger
from tests.conftest import Platform, in_thread
from tests.files import stored
from tests.knowledge.conftest import bound, ingested, make, put
from tests.knowledge.test_ingest import row


@pytest.fixture
async def page(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A host of the web with one page: its address, and what it says."""

    class Page:
        text = "<title>News</title><main><h1>Zoo</h1><p>The okapi has come.</main>"
        url = ""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/old":
            raise web.HTTPFound("/page")
        return web.Response(text=Page.text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    Page.url = f"http://127.0.0.1:{port}/old"
    monkeypatch.setattr(settings, "EGRESS_ALLOW", [f"127.0.0.1:{port}"], raising=False)
    yield Page
    await runner.cleanup()


async def test_an_address_is_fetched_and_fetched_again(host: Any, actor: Any, db: Platform, page: Any) -> None:
    owner = actor("owner")
    make(owner)
    source = Source(page.url, url=page.url, source=Document.Source.URL)
    (one,) = bound(owner, lambda: documents_add(actor=owner, slug="docs", sources=[source], labels=Labels()))
    await ingested(owner)
    first = row(owner, one.id)
    assert (first.state, first.kind, first.title, len(first.checksum)) == ("ready", "html", page.url, 64), first.error
    (hit,) = bound(owner, lambda: search.search(owner, "docs", Question("okapi", top_k=1)))
    assert (hit["heading"], hit["text"], hit["url"]) == ("Zoo", "The okapi has come.", page.url)
    page.text = page.text.replace("come", "gone")

    def again() -> None:
        documents.document_refetch(actor=owner, slug="docs", document_id=one.id)

    bound(owner, again)
    await ingested(owner)
    second = row(owner, one.id)
    assert (second.state, second.live_version, second.checksum != first.checksum) == ("ready", 2, True)
    (hit,) = bound(owner, lambda: search.search(owner, "docs", Question("okapi", top_k=1)))
    assert hit["text"] == "The okapi has gone."
    assert len(stored(db)) == 1
    (text,) = put(owner, "docs", ("a.md", b"Text."))
    with pytest.raises(PaasError, match="fetched from an address"):
        bound(owner, lambda: documents.document_refetch(actor=owner, slug="docs", document_id=text.id))


@pytest.mark.exhaustive
async def test_folders_in_and_out(host: Any, actor: Any, db: Platform, tmp_path: Path) -> None:
    owner, said = actor("owner"), io.StringIO()
    make(owner, name="Handbook", ocr="never")
    make(owner, "copy")
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("# A\nThe badger lives here.")
    (folder / "sub" / "制度.md").write_text("员工每年有三十天假期。")
    (folder / "b.exe").write_bytes(b"MZ\x90")
    (folder / ".hidden").write_text("x")
    (folder / "link.md").symlink_to("/etc/passwd")

    def run(what: str, where: Path, *more: str, base: str = "docs") -> list[str]:
        said.truncate(0)
        said.seek(0)

        def call() -> None:
            with scope.platform():
                call_command(
                    "knowledge",
                    what,
                    *([str(where)] if where.name else []),
                    "--tenant",
                    "acme",
                    "--base",
                    base,
                    *more,
                    stdout=said,
                )

        in_thread(call)
        return said.getvalue().splitlines()

    with pytest.raises(CommandError, match="1 files were refused"):
        run("import", folder, "--dry-run")
    assert bound(owner, lambda: Document.objects.count()) == 0
    with pytest.raises(CommandError, match="1 files were refused"):
        run("import", folder)
    assert [line.split(":")[0].split() for line in said.getvalue().splitlines()] == [
        ["added", "a.md"], ["refused", "b.exe"], ["added", "sub/制度.md"], ["docs"],
    ]  # fmt: skip
    (folder / "b.exe").unlink()
    (folder / "a.md").write_text("# A\nThe badger has moved.")
    assert run("import", folder) == ["replaced   a.md", "docs: 0 new, 1 changed, 1 unchanged, 0 refused"]
    await ingested(owner)
    states = bound(owner, lambda: {one.title: (one.state, one.version) for one in Document.objects.all()})
    assert states == {"a.md": ("ready", 2), "制度.md": ("ready", 1)}
    bound(owner, lambda: Document.objects.filter(title="a.md").update(tags=["hr"], metadata={"path": "../../a.md"}))
    assert run("export", out)[-1] == f"docs: 2 documents in {out}"
    assert sorted(one.relative_to(out).as_posix() for one in out.rglob("*") if one.is_file()) == [
        "files/a.md", "files/sub/制度.md", "manifest.json",
    ]  # fmt: skip
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["knowledge"]["name"], manifest["knowledge"]["ocr"]) == ("Handbook", "never")
    assert run("import", out, base="copy")[-1] == "copy: 2 new, 0 changed, 0 unchanged, 0 refused"
    copied = bound(
        owner, lambda: {one.title: (one.tags, one.metadata) for one in Document.objects.filter(base__slug="copy")}
    )
    assert copied == {"a.md": (["hr"], {"path": "a.md"}), "制度.md": ([], {"path": "sub/制度.md"})}
    assert "2 documents are read anew" in run("reindex", Path(), "--chunk-size", "80", "--chunk-overlap", "10")[-1]
    await ingested(owner)
    assert bound(owner, lambda: {one.live_version for one in Document.objects.filter(base__slug="docs")}) == {2, 3}
    with pytest.raises(CommandError, match="no such knowledge base"):
        run("export", out, base="nothing")


async def test_a_declaration_sets_what_is_read(host: Any, actor: Any) -> None:
    """As `manage.py apply` does."""
    owner = actor("owner")

    def declared(**fields: Any) -> str:
        return str(bound(owner, lambda: base_set(actor="test", slug="docs", fields=fields)))

    assert [declared(ocr="never", ocr_chars=5), declared(ocr="never"), declared(ocr="always")] == [
        "created", "unchanged", "updated",
    ]  # fmt: skip
    for wrong in ({"ocr": "sometimes"}, {"ocr_chars": 9999}, {"ocr": None}):
        with pytest.raises(PaasError) as refused:
            declared(**wrong)
        assert set(refused.value.details["fields"]) == set(wrong)


async def test_several_at_once(host: Any, actor: Any, db: Platform) -> None:
    """The same name twice is two documents; of two that replace one the later stays, and one file."""
    owner = actor("owner")
    make(owner)

    def race(*work: Any) -> None:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(bound, owner, one) for one in work]:
                done.result()

    await asyncio.to_thread(race, *[lambda n=n: put(owner, "docs", ("same.md", b"Version %d." % n)) for n in range(4)])
    assert bound(owner, lambda: list(Document.objects.values_list("title", flat=True))) == ["same.md"] * 4
    one, *rest = bound(owner, lambda: list(Document.objects.order_by("id").values_list("id", flat=True)))
    bound(owner, lambda: [documents.document_delete(actor=owner, slug="docs", document_id=other) for other in rest])

    def replace(text: bytes) -> None:
        source = Source("same.md", len(text), io.BytesIO(text))
        documents.document_replace(actor=owner, slug="docs", document_id=one, source=source)

    await asyncio.to_thread(race, *[lambda n=n: replace(b"Another %d." % n) for n in range(4)])
    await ingested(owner)
    done = row(owner, one)
    assert (done.state, done.version, done.live_version) == ("ready", 5, 5)
    assert len(stored(db)) == 1


async def test_limits_on_documents_and_pages(host: Any, actor: Any, db: Platform, ledger: Ledger) -> None:
    owner = actor("owner")
    make(owner)

    def limit(metric: str, amount: int) -> None:
        whose = {"tenant_id": db.acme.id, "level": "tenant", "subject_id": db.acme.id, "metric": metric}
        with scope.platform():
            Limit.objects.update_or_create(**whose, defaults={"amount": amount, "set_by": "test"})

    in_thread(lambda: limit("documents", 2))
    put(owner, "docs", ("a.md", b"x" * 4000))
    with pytest.raises(PaasError, match="as many documents") as refused:
        put(owner, "docs", ("b.md", b"x"), ("c.md", b"x"))
    assert (refused.value.code, refused.value.details) == (
        "plan_limit_reached",
        {"limit": "max_documents", "allowed": 2},
    )
    await ingested(owner)
    assert bound(owner, counted)["pages"] == 2, "as many as its text would fill"
    in_thread(lambda: limit("pages", 2))
    (one,) = put(owner, "docs", ("b.md", b"x"))
    await ingested(owner)
    assert row(owner, one.id).state == "failed"
    assert "as many pages" in row(owner, one.id).error

    # What is counted is told to Prometheus.
    def swept() -> None:
        with scope.platform():
            jobs._resume()

    in_thread(swept)
    found = {one.labels["state"]: one.value for one in next(iter(metrics.DOCUMENTS_STORED.collect())).samples}
    assert (found["ready"], found["failed"], found["queued"]) == (1, 1, 0)
