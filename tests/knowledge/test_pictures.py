"""Pages of a PDF as pictures with a passage marked, made in the confined process, and for whom they are."""

from __future__ import annotations

import base64
import io
import tempfile
from typing import Any

import pytest
from PIL import Image

from core.documents import confined, pages
from core.documents.asked import Asked, Unreadable
from knowledge.models import Document
from knowledge.selectors import pictured
from tests.accounts.people import within
from tests.files import no_files  # noqa: F401
from tests.knowledge.conftest import bound, ingested, make, put
from tests.portal.test_key_pages import Person

LINES = ("The first line says hello.", "Deposits are returned after", "thirty days, says the contract.", "The end.")


def pdf(*lines: str, rotate: int = 0) -> bytes:
    """One page with these lines, at known places: 12 points high, 20 apart, the first one's base at y = 780."""
    text = " ".join(f"({line}) Tj T*" for line in lines)
    body = f"BT /F1 12 Tf 20 TL 60 780 Td {text} ET".encode()
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Rotate %d/Contents 4 0 R" % rotate
        + b"/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(body), body),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    made, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(made))
        made += b"%d 0 obj%sendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return made + b"xref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        table, len(made),
    )  # fmt: skip


async def shown(data: bytes, page: str = "1", query: str = "", pixels: int = 842) -> Image.Image:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        said = await confined.read(file, "page", Asked("a", pages=page, query=query, pixels=pixels), most=1 << 22)
    return Image.open(io.BytesIO(base64.b64decode(said)))


def marked(picture: Image.Image) -> list[int]:
    """Which lines have yellow in them, by their number."""
    rows = [842 - 780 + 20 * number - 4 for number in range(len(LINES))]
    found = []
    for number, y in enumerate(rows):
        colours = [picture.getpixel((x, y)) for x in range(60, 200)]
        found += [number] if any(blue < 180 < red for red, _, blue in colours) else []  # type: ignore[misc]
    return found


async def test_the_passage_is_marked_where_it_stands() -> None:
    data = pdf(*LINES)
    picture = await shown(
        data, query="deposits  are returned\nafter\nthirty days, says the contract.\n\nNot on it at all."
    )
    assert (picture.format, picture.size) == ("WEBP", (595, 842))
    assert marked(picture) == [1, 2]
    assert marked(await shown(data)) == marked(await shown(data, query="Nothing of this is there.")) == []
    assert (await shown(pdf(*LINES, rotate=90), query=LINES[1], pixels=400)).size == (400, 283)
    assert max((await shown(data, pixels=1_000_000)).size) == pages.MOST_PIXELS
    for bad in (b"%PDF-1.4", b"no pdf", data[:300]):
        with pytest.raises(Unreadable):
            await shown(bad)
    with pytest.raises(Unreadable, match="cannot be shown"):
        await shown(data, page="2")


@pytest.mark.exhaustive
async def test_who_reads_the_base_sees_the_page(site: Any, db: Any, actor: Any, no_files: None) -> None:
    owner = actor("owner")
    make(owner, access="restricted", roles=["viewer"])
    put(owner, "docs", ("deposit.pdf", pdf(*LINES)), ("notes.md", b"# Notes\nNo pages here."))
    await ingested(owner)
    ids = {one.title: one.id for one in within(db.acme, lambda: list(Document.objects.all()))}
    place = f"/knowledge/docs/documents/{ids['deposit.pdf']}/"
    viewer, member = [Person(site, await site.signed_in(name)) for name in ("viewer", "member")]
    assert 'src="picture/?passage=1"' in (await viewer.get(f"{place}?passage=1"))[1]
    assert "page-picture" not in (await viewer.get(place))[1]
    assert "page-picture" not in (await viewer.get(f"/knowledge/docs/documents/{ids['notes.md']}/?passage=1"))[1]
    picture = f"{place}picture/?passage=1"
    async with viewer.session.get(picture) as answer:
        assert (answer.status, answer.content_type) == (200, pages.MEDIA_TYPE)
        assert (answer.headers["X-Content-Type-Options"], answer.headers["Cache-Control"]) == (
            "nosniff", "private, no-cache",
        )  # fmt: skip
        tag, whole = answer.headers["ETag"], await answer.read()
    assert max(Image.open(io.BytesIO(whole)).size) == 1400
    async with viewer.session.get(f"{picture}&size=small") as answer:
        assert max(Image.open(io.BytesIO(await answer.read())).size) == 640
    same = {"If-None-Match": tag}
    async with viewer.session.get(picture, headers=same) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    async with member.session.get(picture, headers=same) as answer:
        assert answer.status == 404, "whoever may not read the base does not learn that it is there"
    for wrong in (
        f"{place}picture/",
        f"{place}picture/?passage=2",
        f"{picture}&size=huge",
        f"{place}picture/?passage=x",
    ):
        assert (await viewer.get(wrong))[0] == 404
    # The chat is told of which passages there is one.
    told = bound(owner, lambda: pictured([str(one) for one in ids.values()]))
    assert told == {str(ids["deposit.pdf"])}
    bound(owner, lambda: Document.objects.filter(title="deposit.pdf").update(version=2))
    assert bound(owner, lambda: pictured(told)) == set()
    assert (await viewer.get(picture))[0] == 404, "its file is already the next version's"
