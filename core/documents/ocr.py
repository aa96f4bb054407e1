"""Reads pictures, and pages of PDF files that are pictures: Chinese and English, with the models of rapidocr's package.

The packages are a group of their own, `ocr` (pyproject.toml), and are loaded only in the confined process.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, Any

from core.documents.asked import Asked, Unreadable
from core.documents.blocks import Block

PACKAGES = ("rapidocr", "onnxruntime", "cv2")
MISSING = (
    "OCR is not installed: pictures cannot be read here. Whoever runs the platform can install requirements-ocr.txt."
)
MOST_PIXELS = 60_000_000
LONGEST_SIDE = 2_000  # pixels; the models are shown no more
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF")
LEAST_CERTAIN = 0.5


def installed() -> bool:
    """Whether the packages are there."""
    return all(importlib.util.find_spec(name) for name in PACKAGES)


class Engine:
    """The models, loaded. Loading needs files, so it comes before the process gives them up."""

    _loaded: Any = None

    @classmethod
    def load(cls) -> None:
        """Load what is needed to read anything; nothing where the packages are missing."""
        if not installed():
            return
        import logging

        logging.disable(logging.CRITICAL)
        import cv2
        import numpy as np
        import pypdfium2  # noqa: F401
        from PIL import Image, ImageOps  # noqa: F401
        from rapidocr import RapidOCR

        Image.init()
        cv2.setNumThreads(1)
        # One thread a model: two take half as much again of the processors, and nothing can be begun later.
        threads = dict.fromkeys(("intra_op_num_threads", "inter_op_num_threads"), 1)
        params = {f"EngineConfig.onnxruntime.{name}": number for name, number in threads.items()}
        cls._loaded = RapidOCR(params=params | {"Global.log_level": "critical", "Global.use_cls": False})
        # Each model is loaded when it is first used; so use each.
        white = np.full((64, 256, 3), 255, dtype=np.uint8)
        cls._loaded(white, use_det=True, use_cls=False, use_rec=False)
        cls._loaded(white, use_det=False, use_cls=False, use_rec=True)

    @classmethod
    def text_of(cls, picture: Any) -> str:
        """The text of a picture (height, width, BGR), line by line; an empty line between its parts."""
        found = cls._loaded(picture, use_det=True, use_cls=False, use_rec=True)
        if found is None or found.boxes is None or not found.txts:
            return ""
        words = [
            _Word(text, float(box[:, 0].min()), float(box[:, 1].min()), float(box[:, 1].max()))
            for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
            if score >= LEAST_CERTAIN and text.strip()
        ]
        return "\n".join(_lines(words))


class _Word:
    """A piece of text; left, top, bottom: pixels."""

    __slots__ = ("bottom", "left", "text", "top")

    def __init__(self, text: str, left: float, top: float, bottom: float) -> None:
        self.text, self.left, self.top, self.bottom = text, left, top, bottom


def _lines(words: list[_Word]) -> Iterator[str]:
    """What stands beside each other is one line; a gap as high as a line begins a new part."""
    rows: list[list[_Word]] = []
    for word in sorted(words, key=lambda one: one.top):
        middle = (word.top + word.bottom) / 2
        if rows and rows[-1][0].top <= middle <= rows[-1][0].bottom:
            rows[-1].append(word)
        else:
            rows.append([word])
    for before, row in pairwise([[], *rows]):
        if before and row[0].top - before[0].bottom > row[0].bottom - row[0].top:
            yield ""
        yield " ".join(word.text.strip() for word in sorted(row, key=lambda one: one.left))


def ocr_image(source: IO[bytes], asked: Asked) -> Iterator[Block]:
    """A picture: its text as page 1."""
    _ready()
    import numpy as np
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # judged here, before anything of it is unpacked
    try:
        with Image.open(source, formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise Unreadable("The picture has more than %(count)s million pixels.", count=MOST_PIXELS // 1_000_000)
            shown = ImageOps.exif_transpose(opened.convert("RGB"))
            shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, ArithmeticError) as error:
        raise Unreadable("The picture is damaged, or of a kind that is not read here.") from error
    yield Block(Engine.text_of(np.ascontiguousarray(np.asarray(shown)[:, :, ::-1])), 1)


def ocr_pdf(source: IO[bytes], asked: Asked) -> Iterator[Block]:
    """Pages of a PDF, each looked at as a whole. asked.pages: their numbers with spaces between them."""
    _ready()
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(source.read())
    except pdfium.PdfiumError as error:
        raise Unreadable("The PDF is damaged, or it is none.") from error
    for number in map(int, asked.pages.split()):
        try:
            page = document[number - 1]
            width, height = page.get_size()
            longest = max(width, height, 1.0)
            bitmap = page.render(scale=min(LONGEST_SIDE / longest, 4.0))
            text = Engine.text_of(bitmap.to_numpy()[:, :, :3])
            bitmap.close()
            page.close()
        except (pdfium.PdfiumError, IndexError, ValueError) as error:
            raise Unreadable("Page %(page)s of the PDF cannot be shown.", page=number) from error
        yield Block(text, number)


def _ready() -> None:
    if Engine._loaded is None:
        raise Unreadable(MISSING)
