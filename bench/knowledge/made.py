"""Passages that are made up, with words and vectors distributed as real ones are; the same every time.

Words: a few are in nearly every passage and most in hardly any (Zipf), half of the documents are Chinese. Vectors:
topics, documents around a topic, passages around their document; an even cloud would have no near and far.
"""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from operator import add

WORDS = 30_000
LENGTH = 160  # words of a passage
OF_DOCUMENT = 50  # passages of a document
TOPICS = 200
RARE = 100  # one document in so many has the tag `rare`
_SIGNS = "水火木土金山石田日月星云雨雪风花草果米鱼车船门路城市村店书纸笔电机器工程合同报销假期会议服务客户订单价格"


@dataclass
class Made:
    """A source of passages with vectors of `dimension` numbers."""

    dimension: int
    seed: int = 7
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        weights = list(accumulate(1 / (rank + 3) for rank in range(WORDS)))
        self._weights = weights
        self._words = {"en": [f"w{number:x}" for number in range(WORDS)], "zh": self._chinese()}
        self._topics = [self._cloud(60) for _ in range(TOPICS)]

    def _chinese(self) -> list[str]:
        return ["".join(self.chance.choices(_SIGNS, k=2)) for _ in range(WORDS)]

    def _cloud(self, width: int) -> array[int]:
        """Numbers from -width / 2 to width / 2."""
        return array("b", self.chance.randbytes(self.dimension).translate(_narrowed(width)))

    def _moved(self, centre: Sequence[int], width: int) -> list[int]:
        return list(map(add, centre, self._cloud(width)))

    def documents(self, passages: int) -> Iterator[tuple[str, list[tuple[list[str], list[int]]]]]:
        """(language, its passages as words and vectors)."""
        for number in range(-(-passages // OF_DOCUMENT)):
            language = "zh" if number % 2 else "en"
            centre = self._moved(self.chance.choice(self._topics), 40)
            count = min(OF_DOCUMENT, passages - number * OF_DOCUMENT)
            yield language, [(self._text(language, LENGTH), self._moved(centre, 40)) for _ in range(count)]

    def _text(self, language: str, length: int) -> list[str]:
        return self.chance.choices(self._words[language], cum_weights=self._weights, k=length)

    def question(self, vector: list[int], language: str) -> tuple[str, list[float]]:
        """Six words as they come, common ones among them, and a vector near to a passage's."""
        return " ".join(self._text(language, 6)), [float(one) for one in self._moved(vector, 30)]


@cache
def _narrowed(width: int) -> bytes:
    return bytes((byte * width // 256 - width // 2) % 256 for byte in range(256))


def packed(vector: list[int]) -> bytes:
    """A vector as pgvector receives it: its length, nothing, and 16-bit floats."""
    return struct.pack(f">hh{len(vector)}e", len(vector), 0, *vector)
