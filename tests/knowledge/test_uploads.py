"""Files that arrive in pieces: whole or not at all, gone on with after a break, inside of what there is room for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from core.errors import PaasError
from knowledge import uploads
from knowledge.models import Document, Upload
from knowledge.uploads import Announced
from tenants import limits
from tests.conftest import Platform
from tests.files import stored
from tests.knowledge.conftest import bound, ingested, make

PLACE = "/api/v1/knowledge/docs/uploads"
TEXT = b"# Parking\n\nThe code of the gate is 4711.\n" * 40
DIGEST = hashlib.sha256(TEXT).hexdigest()


@pytest.fixture
def owner(actor: Any) -> Any:
    return actor("owner")


@pytest.fixture
async def client(site: Any, api_key: Callable[..., str], owner: Any) -> aiohttp.ClientSession:
    make(owner)
    return site.client("acme", token=api_key())  # type: ignore[no-any-return]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PIECE_BYTES", 1000)


async def begin(client: Any, **fields: Any) -> tuple[int, Any]:
    body = {"name": "parking.md", "size": len(TEXT), "sha256": DIGEST} | fields
    async with client.post(PLACE, json=body) as answer:
        return answer.status, await answer.json()


async def put(client: Any, upload: str, offset: int | str, data: bytes) -> tuple[int, Any]:
    headers = {"Content-Type": "application/octet-stream", "Upload-Offset": str(offset)}
    async with client.patch(f"{PLACE}/{upload}", data=data, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_break_a_lost_answer_and_the_document(
    client: Any, db: Platform, owner: Any, small_pieces: None
) -> None:
    status, made = await begin(client, tags=["house"], metadata={"folder": "house"})
    assert (status, made["offset"], made["piece_bytes"]) == (201, 0, 1000)
    status, told = await put(client, made["id"], 0, TEXT[:1000])
    assert (status, told["upload"]["offset"], told["document"]) == (200, 1000, None)
    # The page was reloaded: the same file is known by its checksum, and no second one is begun.
    assert (await begin(client))[1]["offset"] == 1000
    assert (await begin(client, sha256="0" * 64))[1]["id"] != made["id"]
    # The answer was lost, and the piece is sent again.
    status, told = await put(client, made["id"], 0, TEXT[:1000])
    assert (status, told["error"]["code"], told["error"]["details"]["offset"]) == (412, "edited_meanwhile", 1000)
    status, told = await put(client, made["id"], 1000, TEXT[1000:])
    document = told["document"]["id"]
    assert (status, told["upload"]) == (202, None)
    # That answer was lost too: it is one document all the same.
    assert (await put(client, made["id"], 1000, TEXT[1000:]))[1]["document"]["id"] == document
    await ingested(owner)
    row = bound(owner, Document.objects.get)
    assert (row.title, row.state, row.tags, row.metadata) == ("parking.md", "ready", ["house"], {"folder": "house"})
    assert [path.read_bytes() for path in stored(db) if path.stat().st_size] == [TEXT]
    # Whoever forgets a finished upload leaves the document its file.
    async with client.delete(f"{PLACE}/{made['id']}") as answer:
        assert answer.status == 204
    assert TEXT in [path.read_bytes() for path in stored(db)]
    # The next version of it, as a file that is replaced.
    new = TEXT.replace(b"4711", b"0815")
    _, made = await begin(client, sha256=hashlib.sha256(new).hexdigest(), replaces=document)
    assert (await put(client, made["id"], 0, new[:1000]))[0] == 200
    assert (await put(client, made["id"], 1000, new[1000:]))[1]["document"]["version"] == 2
    async with client.get(PLACE) as answer:
        assert [one["sha256"] for one in (await answer.json())["uploads"]] == ["0" * 64]


async def test_what_is_refused_leaves_nothing(client: Any, db: Platform, small_pieces: None) -> None:
    """A47, A48, A51, A60: at the start by what is said, at the end by what has come."""
    for fields, code in (
        ({"size": 0}, "validation_failed"),
        ({"size": 2**40}, "file_too_large"),
        ({"sha256": "A" * 64}, "validation_failed"),
        ({"tags": [""]}, "validation_failed"),
        ({"replaces": "00000000-0000-0000-0000-000000000000"}, "not_found"),
        ({"nonsense": 1}, "validation_failed"),
    ):
        assert (await begin(client, **fields))[1]["error"]["code"] == code, fields
    assert stored(db) == []
    _, made = await begin(client, name="../../etc/<b>.md")
    assert made["name"] == "b.md"
    for offset, data in (("x", b"1"), ("", b"1"), (0, b""), (0, TEXT[:1001])):
        assert (await put(client, made["id"], offset, data))[1]["error"]["code"] == "validation_failed", offset
    async with client.patch(f"{PLACE}/{made['id']}", json={}) as answer:
        assert answer.status == 400
    await put(client, made["id"], 0, TEXT[:1000])
    too_much = await put(client, made["id"], 1000, TEXT[1000:] + b"!")
    assert too_much[1]["error"]["code"] == "validation_failed"
    # Other bytes than were announced, and bytes that are no document: gone as a whole.
    status, told = await put(client, made["id"], 1000, TEXT[1000:][::-1])
    assert (status, "other than it was sent" in told["error"]["message"]) == (400, True)
    picture = b"\x89PNG\r\n" + b"\0" * 500
    for data, code in ((picture, "file_unsupported"), (b" " * 500, "validation_failed")):
        _, made = await begin(client, size=500, sha256="", name="a.md")
        assert (await put(client, made["id"], 0, data[:500]))[1]["error"]["code"] == code
        assert (await put(client, made["id"], 0, data[:500]))[0] == 404
    _, made = await begin(client)
    async with client.delete(f"{PLACE}/{made['id']}") as answer:
        assert answer.status == 204
    assert stored(db) == []


async def test_fifty_that_race_stay_within_the_storage(
    client: Any, owner: Any, db: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A52: what is promised to those that have begun counts, so no more are begun than there is room for."""
    monkeypatch.setattr(limits, "storage_bytes", lambda: 3 * len(TEXT))
    told = await asyncio.gather(*(begin(client, sha256="") for _ in range(10)))
    begun = [made["id"] for status, made in told if status == 201]
    assert (len(begun), {made["error"]["code"] for status, made in told if status != 201}) == (3, {"storage_full"})
    ended = await asyncio.gather(*(put(client, one, 0, TEXT) for one in begun))
    assert [status for status, _ in ended] == [202] * 3, ended
    assert sum(path.stat().st_size for path in stored(db)) == 3 * len(TEXT)
    assert (await begin(client, size=1))[1]["error"]["code"] == "storage_full"
    # The plan was made smaller meanwhile: what arrives whole is looked at again.
    monkeypatch.setattr(limits, "storage_bytes", lambda: 5 * len(TEXT))
    _, made = await begin(client)
    monkeypatch.setattr(limits, "storage_bytes", lambda: 3 * len(TEXT))
    assert (await put(client, made["id"], 0, TEXT))[1]["error"]["code"] == "storage_full"
    assert len(stored(db)) == 3


async def test_whose_it_is_and_how_it_is_forgotten(owner: Any, actor: Any, db: Platform) -> None:
    make(owner)
    file = Announced("a.md", len(TEXT), DIGEST)

    def started(who: Any) -> Any:
        return bound(who, lambda: uploads.upload_begin(actor=who, slug="docs", file=file))

    mine, theirs = started(owner), started(actor("admin"))
    assert mine.id != theirs.id
    with pytest.raises(PaasError, match="no such upload"):
        bound(owner, lambda: uploads.upload_for(owner, "docs", theirs.id))
    assert bound(owner, uploads.uploads_forget) == 0
    bound(owner, lambda: Upload.objects.filter(id=mine.id).update(updated_at="2026-01-01T00:00:00Z"))
    assert bound(owner, uploads.uploads_forget) == 1
    assert len(stored(db)) == 1
    from knowledge.bases import base_delete

    bound(owner, lambda: base_delete(actor=owner, slug="docs"))
    assert stored(db) == []
