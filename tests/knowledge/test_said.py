"""What is said of a document is kept so that it can be said in another language."""

from __future__ import annotations

import ast
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation

from core.documents import confined
from core.documents.asked import Asked, Unreadable
from core.said import Said, fits, said
from knowledge import ingest
from knowledge.models import Document
from portal.knowledge_words import SAID, error_words, sentences, step_words
from tests.knowledge.conftest import ingested, make, put
from tests.knowledge.test_ingest import row

ROOT = Path(__file__).parents[2]
# Of `read_file`, whose sentences are for models.
FOR_MODELS = {
    'Name a part as "3" or "2-9".', "Parts are counted from 1, and the first comes before the last.",
    "The file takes too long to read.", "This page of the PDF cannot be shown.",
}  # fmt: skip


def test_every_sentence_can_be_translated() -> None:
    """Those that the code says are those that pages know, and none of either is left over."""
    spoken: set[str] = set()
    for path in [*(ROOT / "core/documents").glob("*.py"), *(ROOT / "knowledge").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if called in ("Unreadable", "said") and isinstance(node, ast.Call) and node.args:
                given = node.args[0]
                spoken |= {given.value} if isinstance(given, ast.Constant) else set()
    assert len(spoken) > 30
    assert spoken - FOR_MODELS <= set(sentences()), "a sentence that no page can translate"
    with translation.override("zh-hans"):
        assert all(chinese != english for english, chinese in sentences().items())
    assert ingest.OUR_FAULT in sentences()
    assert len(SAID) == len(sentences())


def document(**fields: Any) -> Document:
    return Document(title="a", **fields)


def test_words_by_language_and_of_releases_before() -> None:
    kept = said("The PDF has %(count)s pages; %(most)s are read at most.", count=1200, most=500)
    new = document(error=str(kept), said={"error": kept.stored()})
    noun = said("The %(what)s is encrypted.", what="workbook")
    odd = document(error=str(noun), said={"error": noun.stored()})
    coded = Said("The vendor said no.", code="provider_unavailable")
    vendor = document(error=str(coded), said={"error": coded.stored()}, step="waiting to try again")
    old = document(error="The document has no text.", step="3 of 40 passages")
    strange = document(error="Who knows.", said={"error": {"text": "Who %(x)s knows.", "told": {}}})
    later = document(error="Something else.", said=new.said)  # a release before has written it since
    assert new.error == "The PDF has 1,200 pages; 500 are read at most."
    assert [error_words(one) for one in (new, odd, vendor, old, strange, later)] == [
        new.error, odd.error, "The vendor said no.", old.error, "Who knows.", "Something else.",
    ]  # fmt: skip
    with translation.override("zh-hans"):
        assert error_words(new) == "PDF 有 1,200 页，最多读取 500 页。"
        assert error_words(odd) == "该工作簿已加密。"
        assert "vendor" not in error_words(vendor)
        assert step_words(vendor) == "等待重试"
        assert (error_words(old), "passages" in step_words(old)) == ("该文档没有文字。", False)
        assert (error_words(strange), error_words(later)) == ("Who knows.", "Something else.")


@pytest.mark.parametrize(
    ("text", "told", "whole"),
    [
        ("Nothing in it.", {}, True),
        ("%(a)s and %(b)s", {"a": "1", "b": "2"}, True),
        ("%(a)s and %(b)s", {"a": "1"}, False),
        ("%(a)99999999999s", {"a": "1"}, False),
        ("100 %", {}, False),
        ("%s", {}, False),
    ],
)
def test_a_sentence_from_elsewhere_has_only_plain_places(text: str, told: dict[str, str], whole: bool) -> None:
    assert fits(text, told) is whole


async def test_it_comes_out_of_the_confined_process_and_is_stored(host: Any, actor: Any) -> None:
    from tests.office import archive

    owner = actor("owner")
    make(owner)
    many = archive(*((f"word/{n}.xml", b"") for n in range(10_000)), ("word/document.xml", b"<x/>"))
    with tempfile.TemporaryFile() as file:
        file.write(many)
        file.seek(0)
        with pytest.raises(Unreadable) as refused:
            [block async for block in confined.whole(file, "whole:docx", Asked("a.docx"))]
    assert refused.value.said.text == "The %(what)s has more than %(most)s parts."
    (one,) = put(owner, "docs", ("a.docx", many))
    await ingested(owner)
    failed = row(owner, one.id)
    assert (failed.state, failed.error) == ("failed", str(refused.value))
    assert failed.said == {"error": refused.value.said.stored()}
    for hostile in ([1], ["%(x)9999999999s", {"x": "1"}], ["a", {"x": 1}], ["a" * 501, {}], None, {"a": "b"}):
        error = confined._unreadable("It cannot be read.", hostile)
        assert str(error) == "It cannot be read." == str(error.said)
