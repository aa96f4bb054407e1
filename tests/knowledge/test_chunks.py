"""How documents are cut, and what the words and vectors of a text are."""

from __future__ import annotations

import io
import json
import math
from itertools import pairwise

import pytest

from core.documents import blocks
from core.documents.asked import Asked, Unreadable
from core.documents.blocks import Block
from core.documents.kinds import whole_kind_of
from knowledge.chunks import passages
from knowledge.hashing import vector_of
from knowledge.words import terms_of, words_of
from llm.tokens import estimate_tokens


def read(kind: str, text: str) -> list[Block]:
    reader = getattr(blocks, f"whole_{kind}")
    return list(reader(io.BytesIO(text.encode()), Asked("a")))


def test_structure_is_kept() -> None:
    found = read("markdown", "# A\none\ntwo\n\nthree\n## B\n```\n# no heading\n```\n# C\n")
    assert [(one.heading, one.text) for one in found] == [
        ("A", "one\ntwo"), ("A", "three"), ("A › B", "```\n# no heading\n```"), ("C", "C"),
    ]  # fmt: skip
    page = "<title>T</title><h1>A</h1><p>one<script>x</script><br>two<h2>B</h2><li>three</li><style>y</style>"
    assert [(one.heading, one.text) for one in read("html", page)] == [
        ("", "T"), ("A", "one"), ("A", "two"), ("A › B", "three"),
    ]  # fmt: skip
    assert [(one.head, one.text) for one in read("csv", "n;v\na;1\nb;2\n")] == [("n\tv", "a\t1"), ("n\tv", "b\t2")]
    with pytest.raises(Unreadable, match="no text"):
        read("text", " \n\x00 ")
    assert "\x00" not in json.dumps([one.text for one in read("text", "a\x00b")])


def test_passages_are_small_enough_and_lose_nothing() -> None:
    text = "\n\n".join(f"Sentence {number} of the text. It has two parts." for number in range(60))
    long = "字" * 900
    found = list(passages(read("text", f"{text}\n\n{long}"), 100, 20))
    assert max(estimate_tokens(one.text) for one in found) <= 100
    for number in range(60):
        assert any(f"Sentence {number} of" in one.text for one in found)
    assert sum(one.text.count("字") for one in found) >= 900
    shared = sum(one.text.splitlines()[0] in before.text for before, one in pairwise(found))
    assert shared > 10, "neighbours overlap"
    rows = "name,value\n" + "\n".join(f"row{number},{number}" for number in range(80))
    cut = list(passages(read("csv", rows), 60, 0))
    assert len(cut) > 3
    assert all(one.text.startswith("name\tvalue\n") for one in cut)


def test_words_and_vectors() -> None:
    assert {"北京", "大学"} <= set(words_of("我在北京大学 the Badger_2"))
    assert words_of("The Badger") == ["badger"]
    asked = [(one.word, one.query) for one in terms_of("'); DROP TABLES x9; -- ! & |:* \\ 北京 drops")]
    assert asked == [
        ("drop", "'drop' | 'drops'"), ("tables", "'table' | 'tables'"), ("x9", "'x9'"), ("北京", "'北京'"),
    ]  # fmt: skip
    assert [one.query for one in terms_of("batteries delivered cancelling")] == [
        "'batter':*",
        "'deliver':*",
        "'cancel':*",
    ]
    assert terms_of("the 的 ?!") == []
    one, same, near, far = map(vector_of, ("The old badger", "the OLD badger", "badgers of old", "数据库的备份"))
    assert one == same
    assert math.isclose(sum(number * number for number in one), 1)

    def cosine(first: list[float], second: list[float]) -> float:
        return sum(a * b for a, b in zip(first, second, strict=True))

    assert cosine(one, near) > 0.4 > abs(cosine(one, far))


def test_a_web_page_is_known_by_its_beginning() -> None:
    assert whole_kind_of("a.txt", b"\n<!DOCTYPE html><p>x") == "html"
    assert whole_kind_of("a.md", b"<html>") == "markdown"
    assert whole_kind_of("a.txt", b"text <html>") == "text"
    assert whole_kind_of("a.txt", b"PK\x03\x04") is None
