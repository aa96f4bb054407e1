"""Office files for tests, made of as little as makes them one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from xml.sax.saxutils import escape

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
P = (
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def archive(*entries: tuple[str, bytes], patch: Callable[[zipfile.ZipInfo], None] = lambda info: None) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            patch(info)
            file.writestr(info, data)
    return made.getvalue()


def docx(body: str, **parts: str) -> bytes:
    """A Word document of this body; parts: further ones of `word/`, by name."""
    document = f"<w:document {W}><w:body>{body}</w:body></w:document>"
    others = [(f"word/{name}.xml", text.encode()) for name, text in parts.items()]
    return archive(("word/document.xml", document.encode()), *others)


def paragraph(text: str, style: str = "", properties: str = "") -> str:
    named = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{named}{properties}</w:pPr><w:r><w:t>{escape(text)}</w:t></w:r></w:p>"


def table(*rows: tuple[str, ...]) -> str:
    cells = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in cells)}</w:tbl>"


def pptx(*slides: str, notes: str = "") -> bytes:
    """A presentation of these slides' shapes; notes: of the first one."""
    ids = "".join(f'<p:sldId id="{256 + n}" r:id="rId{n}"/>' for n in range(len(slides)))
    # Written backwards: their order is what the list says.
    named = "".join(relation(f"rId{n}", "slide", f"slides/slide{len(slides) - n}.xml") for n in range(len(slides)))
    entries = [
        ("ppt/presentation.xml", f"<p:presentation {P}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>".encode()),
        ("ppt/_rels/presentation.xml.rels", f"<Relationships>{named}</Relationships>".encode()),
    ]
    for n, shapes in enumerate(slides):
        text = f"<p:sld {P}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>"
        entries.append((f"ppt/slides/slide{len(slides) - n}.xml", text.encode()))
    if notes:
        listed = relation("rId1", "notesSlide", "../notesSlides/notesSlide1.xml")
        entries.append(
            (f"ppt/slides/_rels/slide{len(slides)}.xml.rels", f"<Relationships>{listed}</Relationships>".encode())
        )
        entries.append(("ppt/notesSlides/notesSlide1.xml", f"<p:notes {P}>{shape(notes)}</p:notes>".encode()))
    return archive(*entries)


def shape(text: str, role: str = "") -> str:
    place = f'<p:ph type="{role}"/>' if role else ""
    lines = "".join(f"<a:p><a:r><a:t>{escape(line)}</a:t></a:r></a:p>" for line in text.splitlines())
    return f"<p:sp><p:nvSpPr><p:nvPr>{place}</p:nvPr></p:nvSpPr><p:txBody>{lines}</p:txBody></p:sp>"


def grid(*rows: tuple[str, ...]) -> str:
    cells = (
        "".join(f"<a:tc><a:txBody><a:p><a:r><a:t>{cell}</a:t></a:r></a:p></a:txBody></a:tc>" for cell in row)
        for row in rows
    )
    return f"<p:graphicFrame><a:tbl>{''.join(f'<a:tr>{row}</a:tr>' for row in cells)}</a:tbl></p:graphicFrame>"


def relation(key: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{key}" Type="{RELATION}{kind}" Target="{target}"/>'
