"""The words of a text, for full text search: Chinese is cut into words by rjieba, because PostgreSQL cannot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

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
# Words that point to what was said before, and those with which somebody goes on.
POINTING = frozenset(
    (  # noqa: SIM905
        "it its they them their theirs this that these those there he him his she her hers former latter same "
        "它 它们 他 她 他们 她们 这 那 这个 那个 这些 那些 这里 那里 这样 那样 这种 那种 其 该 此 上述 前者 后者 "
        "刚才 前面 上面 同样 呢"
    ).split()
)
OPENING = frozenset("and but or also then so still 那么 还有 另外 而且 但是 可是 或者 然后".split())  # noqa: SIM905
_WHAT_ABOUT = re.compile(r"\s*(what|how) about\b", re.IGNORECASE)
MOST_ASKED = 32
KNOWN_CHARS = 30
LONG_STEM = 5
_WORD = re.compile(r"[\w]+")
_ENGLISH = re.compile(r"[a-z]{3,}")
_HISSED = ("s", "x", "ch", "sh")
_PLURAL = re.compile(r"(?:(?<=x)es|(?<=[cs]h)es|(?<!s)s)\Z")
_ENDINGS = ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ied", "ed", "es", "ly", "y", "e", "s")


def words_of(text: str) -> list[str]:
    """The words of a text in their order, in small letters, without signs and STOP."""
    found: list[str] = []
    for token in text.lower().split():  # what is cut never reaches over a space
        found += _known(token) if len(token) <= KNOWN_CHARS and token.isascii() else _cut(token)
    return found


def _cut(token: str) -> list[str]:
    pieces = rjieba.cut_for_search(token)
    return [word[:60] for piece in pieces for word in _WORD.findall(piece) if word not in STOP]


@lru_cache(maxsize=20_000)
def _known(token: str) -> tuple[str, ...]:
    """`_cut` of a token that comes again and again, as words of languages with spaces do."""
    return tuple(_cut(token))


def stands_alone(question: str) -> bool:
    """Whether a question seems to say by itself what it is about: it has two words that do, and none that points to
    what was said before. A guess, which costs nothing."""
    told = [word for piece in rjieba.cut(question.lower()) for word in _WORD.findall(piece)]
    if not told or told[0] in OPENING or POINTING & set(told) or _WHAT_ABOUT.match(question):
        return False
    return len(terms_of(question)) > 1


@dataclass(frozen=True, slots=True)
class Term:
    """A word of a question, and how it is looked for: any of `forms`, or, with prefix, what begins with the one."""

    word: str
    forms: tuple[str, ...]
    prefix: bool = False

    @property
    def query(self) -> str:
        """As a tsquery. Words are letters, digits and _ only, and each is quoted all the same."""
        return " | ".join(f"'{form}'{':*' if self.prefix else ''}" for form in self.forms)


def terms_of(text: str) -> list[Term]:
    """The words of a question, each once; an English one so that it is found in its other forms too."""
    found: dict[str, Term] = {}
    for word in words_of(text):
        term = _english(word) if _ENGLISH.fullmatch(word) else Term(word, (word,))
        found.setdefault(term.query, term)
    return list(found.values())[:MOST_ASKED]


def _english(word: str) -> Term:
    stem = _stem(word)
    if len(stem) >= LONG_STEM:
        return Term(word, (stem,), prefix=True)
    one = _PLURAL.sub("", word)
    return Term(
        word, (one, one + ("es" if one.endswith(_HISSED) else "s"))
    )  # too many words begin with a short one: car, carpet


def _stem(word: str) -> str:
    """An English word without its ending, and without the second of two letters that are left at the end then."""
    ending = next((one for one in _ENDINGS if word.endswith(one)), "") if not word.endswith("ss") else ""
    stem = word.removesuffix(ending)
    return stem[:-1] if ending and len(stem) > LONG_STEM and stem[-1] == stem[-2] else stem
