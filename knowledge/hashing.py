"""The hashing embedder: words and their pieces, counted into the places of a vector. It asks no model and no network.

It finds texts that share words or parts of them, and knows nothing of meaning: good for trying things out offline and
for tests, and called by its name wherever a base shows its model. The same text has the same vector on every machine.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from itertools import pairwise

from knowledge.words import words_of

MODEL = "hashing"
DIMENSION = 256


def vector_of(text: str, dimension: int = DIMENSION) -> list[float]:
    """A vector of length 1; of a text without words the first axis."""
    places = [0.0] * dimension
    words = words_of(text)
    for word in words:
        for place, weight in _features(word, dimension):
            places[place] += weight
    for first, second in pairwise(words):
        place, weight = _place(f"{first} {second}", 0.5, dimension)
        places[place] += weight
    # As counts grow they say less: the root keeps a word that is repeated from being all there is.
    places = [math.copysign(math.sqrt(abs(one)), one) for one in places]
    length = math.sqrt(sum(one * one for one in places))
    return [one / length for one in places] if length else [1.0] + [0.0] * (dimension - 1)


@lru_cache(maxsize=20_000)
def _features(word: str, dimension: int) -> list[tuple[int, float]]:
    """A word and its pieces: where in the vector each counts, and what."""
    pieces = (word[start : start + 3] for start in range(len(word) - 2))
    return [_place(word, 1.0, dimension), *(_place("#" + piece, 0.3, dimension) for piece in pieces)]


def _place(feature: str, weight: float, dimension: int) -> tuple[int, float]:
    hashed = zlib.crc32(feature.encode())
    return hashed % dimension, weight if hashed & 0x80000000 else -weight
