"""Shows a page of a PDF as a picture, with a passage of it marked; in the confined process only."""

from __future__ import annotations

import base64
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import IO, Any

from core.documents.asked import Asked, Unreadable

MEDIA_TYPE = "image/webp"
MOST_PIXELS = 2_000  # of a picture's longer side
MOST_MARKED = 20_000  # characters of a page that are looked at
SHORT = 8  # a piece with fewer characters may stand anywhere, so it is looked for close behind the one before
CLOSE = 200
QUALITY = 80
YELLOW = (255, 233, 122)
_PIECES = re.compile(r"[\n\t|]+")

Box = tuple[int, int, int, int]  # left, top, right, bottom; pixels


def load() -> None:
    """Load what is needed later, when nothing can be loaded any more."""
    import pypdfium2  # noqa: F401
    from PIL import Image

    Image.init()


def page_pdf(source: IO[bytes], asked: Asked) -> str:
    """A page as a WebP picture, in base64. asked.pages: its number; asked.pixels: of the longer side; asked.query: the
    text that is marked, as far as the page has it."""
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(source.read())
        page = document[int(asked.pages) - 1]
        longest = max(*page.get_size(), 1.0)
        bitmap = page.render(scale=min(asked.pixels, MOST_PIXELS) / longest, may_draw_forms=False)
        shown = bitmap.to_pil().convert("RGB")
        boxes = _boxes(page.get_textpage(), bitmap.get_posconv(page), asked.query) if asked.query else []
    except (pdfium.PdfiumError, IndexError, ValueError) as error:
        raise Unreadable("This page of the PDF cannot be shown.") from error
    _mark(shown, boxes)
    made = io.BytesIO()
    shown.save(made, "WEBP", quality=QUALITY, method=2)
    return base64.b64encode(made.getvalue()).decode()


def _mark(shown: Any, boxes: Iterable[Box]) -> None:
    from PIL import Image, ImageChops

    for left, top, right, bottom in boxes:
        box = (max(left - 1, 0), max(top - 1, 0), min(right + 1, shown.width), min(bottom + 1, shown.height))
        if box[0] < box[2] and box[1] < box[3]:
            part = shown.crop(box)
            shown.paste(ImageChops.multiply(part, Image.new("RGB", part.size, YELLOW)), box)


def _boxes(text: Any, place: Any, passage: str) -> list[Box]:
    """Where the passage stands: a box for each stretch of a line."""
    from pypdfium2 import raw

    count = min(text.count_chars(), MOST_MARKED)
    signs = [chr(code) if (code := raw.FPDFText_GetUnicode(text, n)) < 0x110000 else " " for n in range(count)]
    boxes: list[Box] = []
    last = -2
    for n in sorted(found(signs, passage)):
        left, bottom, right, top = text.get_charbox(n, loose=True)
        if right <= left or top <= bottom:
            continue
        (x1, y1), (x2, y2) = place.to_bitmap(left, top), place.to_bitmap(right, bottom)
        box = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        before = boxes[-1] if boxes and n - last <= 2 else None
        if before and min(before[3], box[3]) - max(before[1], box[1]) > (box[3] - box[1]) // 2:
            boxes[-1] = (min(before[0], box[0]), min(before[1], box[1]), max(before[2], box[2]), max(before[3], box[3]))
        else:
            boxes.append(box)
        last = n
    return boxes


def found(signs: list[str], passage: str) -> Iterator[int]:
    """The places of those signs of a page that are the passage's, piece by piece; space and case make no difference,
    because two readers of a page set them differently."""
    plain, places = _plain(signs)
    at = 0
    for piece in _PIECES.split(passage):
        wanted, _ = _plain(piece)
        if not wanted:
            continue
        if len(wanted) < SHORT:
            start = plain.find(wanted, at, at + CLOSE) if at else -1
        else:
            start = plain.find(wanted, at)
            start = plain.find(wanted) if start < 0 else start
        if start >= 0:
            at = start + len(wanted)
            yield from dict.fromkeys(places[start:at])


def _plain(signs: Iterable[str]) -> tuple[str, list[int]]:
    """(the text in small letters, without space and signs that are not seen; which sign each of its letters is of)."""
    plain: list[str] = []
    places: list[int] = []
    for n, sign in enumerate(signs):
        for one in unicodedata.normalize("NFKC", sign).lower():
            if not one.isspace() and unicodedata.category(one)[0] != "C":
                plain.append(one)
                places.append(n)
    return "".join(plain), places
