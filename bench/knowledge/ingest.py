"""How long whole documents take, and how much memory: 10 MB of text as PDF, and 10 MB of scanned pages."""

from __future__ import annotations

import asyncio
import io
import random
import resource
import time
from typing import Any

MEGABYTES = 10
TEXT_PAGES = 400  # fewer than are read at most
SCAN_PAGES = 14  # as many make 10 MB
WORDS = [
    "the",
    "of",
    "badger",
    "holiday",
    "garage",
    "invoice",
    "contract",
    "supplier",
    "delivery",
    "warranty",
    "annual",
    "report",
    "meeting",
    "travel",
]


def measure(actor: Any) -> dict[str, Any]:
    """Seconds until each is searchable, by one worker that has nothing else to do; peaks of memory so far, in MB.

    Vectors are the hashing embedder's: a vendor's model is not what is measured.
    """
    from core.documents.ocr import installed

    found = {"text_pdf": _ingested(actor, "text", _text_pdf())}
    found["scanned_pdf"] = _ingested(actor, "scan", _scan()) if installed() else {"skipped": "OCR is not installed"}
    return found


def _ingested(actor: Any, slug: str, data: bytes) -> dict[str, Any]:
    from knowledge.bases import base_create
    from knowledge.documents import Labels, Source, documents_add
    from knowledge.ingest import turn
    from knowledge.models import Document

    base_create(actor=actor, slug=slug, fields={})
    source = Source(f"{slug}.pdf", len(data), io.BytesIO(data))
    begun = time.perf_counter()
    (made,) = documents_add(actor=actor, slug=slug, sources=[source], labels=Labels())
    answered = time.perf_counter() - begun

    async def work() -> None:
        while await turn(actor.tenant):
            pass

    asyncio.run(work())
    done = Document.objects.get(id=made.id)
    return {
        "megabytes": round(len(data) / 1e6, 1), "pages": done.pages, "passages": done.chunk_count, "state": done.state,
        "error": done.error, "upload_s": round(answered, 2), "searchable_s": round(time.perf_counter() - begun, 1),
        "worker_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "reader_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
    }  # fmt: skip


def _text_pdf() -> bytes:
    """Pages of uncompressed text, written by hand."""
    chance, lines = random.Random(7), MEGABYTES * 1_000_000 // TEXT_PAGES // 90
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(TEXT_PAGES))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, TEXT_PAGES)
    for number in range(TEXT_PAGES):
        shown = b"\n".join(b"(%s) Tj T*" % " ".join(chance.choices(WORDS, k=11)).encode() for _ in range(lines))
        stream = b"BT /F1 6 Tf 7 TL 40 780 Td\n%s\nET" % shown
        page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R " % (5 + 2 * number)
        objects.append(page + b"/Resources << /Font << /F1 3 0 R >> >> >>")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table))


def _scan() -> bytes:
    """Pages as a scanner makes them: A4 at 150 dots an inch, 30 lines, on grainy paper."""
    from PIL import Image, ImageDraw, ImageFont

    chance, font, sheets = random.Random(7), ImageFont.load_default(32), []
    for _ in range(SCAN_PAGES):
        sheet = Image.effect_noise((1240, 1754), 30).point(lambda tone: 200 + tone // 5).convert("RGB")
        for line in range(30):
            text = " ".join(chance.choices(WORDS, k=7))
            ImageDraw.Draw(sheet).text((80, 60 + line * 52), text, fill="black", font=font)
        sheets.append(sheet)
    made = io.BytesIO()
    sheets[0].save(made, "PDF", save_all=True, append_images=sheets[1:], quality=88)
    return made.getvalue()
