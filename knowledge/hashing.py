"""The hashing embedder: words and their pieces, counted into the places of a vector. It asks no model and no network.

It finds texts that share words or parts of them, and knows nothing of meaning: good for trying things out offline and
for tests, and called by its name wherever a base shows its model. The same text has the same vector on every machine.
"""

from __future__ import annotations

import math
import zlib
from itertools import pairwise

from knowledge.words import words_of

MODEL = "hashing"
DIMENSION = 256


def vector_of(text: str, dimension: int = DIMENSION) -> list[float]:
    """A vector of length 1; of a text without words the first axis."""
    places = [0.0] * dimension
    words = words_of(text)
    for word in words:
        _add(places, word, 1.0)
        for start in range(len(word) - 2):
            _add(places, "#" + word[start : start + 3], 0.3)
    for first, second in pairwise(words):
        _add(places, f"{first} {second}", 0.5)
    # As counts grow they say less: the root keeps a word that is repeated from being all there is.
    places = [math.copysign(math.sqrt(abs(one)), one) for one in places]
    length = math.sqrt(sum(one * one for one in places))
    return [one / length for one in places] if length else [1.0] + [0.0] * (dimension - 1)


def _add(places: list[float], feature: str, weight: float) -> None:
    hashed = zlib.crc32(feature.encode())
    places[hashed % len(places)] += weight if hashed & 0x80000000 else -weight
