"""The words of a text, for full text search: Chinese is cut into words by rjieba, because PostgreSQL cannot."""

from __future__ import annotations

import re

import rjieba

# Words that say nothing of what a text is about; a question is full of them, and they would be found everywhere.
STOP = frozenset(
    (  # noqa: SIM905 - as a list it is a hundred and fifty lines
        "a an and are as at be but by can could did do does for from had has have how i if in into is it its me my no "
        "not of on or our shall should so than that the their them then there these they this to was we were what when "
        "where which who whom why will with would you your "
        "的 了 和 是 在 我 有 就 不 也 都 一个 上 很 到 说 要 去 你 会 着 没有 看 这 那 吗 呢 吧 什么 怎么 如何 "
        "哪 哪些 请问 请 多少 为 为什么 与 及 或 被 把 对 从 而 以 之 其 可以 能 我们 你们 他们 它 他 她"
    ).split()
)
MOST_ASKED = 32
_WORD = re.compile(r"[\w]+")


def words_of(text: str) -> list[str]:
    """The words of a text in their order, in small letters, without signs and STOP."""
    found = []
    for piece in rjieba.cut_for_search(text.lower()):
        found += [word[:60] for word in _WORD.findall(piece) if word not in STOP]
    return found


def query_of(text: str) -> str:
    """A question as a tsquery in which one word suffices; "" when it has none.

    Words are letters, digits and _ only, and each is quoted all the same."""
    return " | ".join(f"'{word}'" for word in list(dict.fromkeys(words_of(text)))[:MOST_ASKED])
