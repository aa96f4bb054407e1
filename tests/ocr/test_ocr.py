"""Pictures and scanned pages, read by the models themselves in the confined process.

Needs requirements-ocr.txt, and a font with Chinese characters (Debian: fonts-noto-cjk).
"""

from __future__ import annotations

import io
import tempfile
from contextlib import aclosing

import pytest
from PIL import Image, ImageDraw, ImageFont

from core.documents import confined
from core.documents.asked import Asked, Unreadable
from core.documents.blocks import Block

FONT = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"


def picture(*lines: str) -> Image.Image:
    font = ImageFont.truetype(FONT, 32)
    shown = Image.new("RGB", (900, 120 + 60 * len(lines)), "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(shown).text((60, 60 + 60 * number), line, fill="black", font=font)
    return shown


def saved(image: Image.Image, kind: str) -> bytes:
    made = io.BytesIO()
    image.save(made, kind)
    return made.getvalue()


async def blocks(data: bytes, kind: str, pages: str = "") -> list[Block]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        async with aclosing(confined.whole(file, kind, Asked("a", few=30, pages=pages))) as batches:
            return [block async for batch in batches for block in batch]


async def test_what_is_seen_is_read_and_a_hostile_picture_is_not() -> None:
    lines = ("The badger pays 4711 euros.", "It is due in March.", "员工每年有三十天假期")
    (found,) = await blocks(saved(picture(*lines), "PNG"), "ocr:image")
    assert (found.text.splitlines(), found.page) == (list(lines), 1)
    scan = saved(picture(*lines), "PDF")
    assert [one.picture for one in await blocks(scan, "whole:pdf")] == [True]
    (found,) = await blocks(scan, "ocr:pdf", "1")
    assert found.text.splitlines() == list(lines)
    head = saved(Image.new("RGB", (9, 9)), "PNG")
    huge = head[:16] + (50_000).to_bytes(4) * 2 + head[24:]
    with pytest.raises(Unreadable, match=r"million pixels|damaged"):
        await blocks(huge, "ocr:image")
