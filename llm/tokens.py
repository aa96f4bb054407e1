"""How many tokens a text will be, before a vendor has counted it.

Used to reserve quota and to count what a vendor never reported, so it leans to the high side. Vendors'
byte-pair vocabularies average 3 to 4 bytes a token in English and about one Chinese character, which is
3 bytes of UTF-8; to count exactly would need each vendor's vocabulary, which tiktoken fetches from the net.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

BYTES_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 4
"""The role and the marks around a message, as OpenAI's cookbook counts them (3 to 4)."""
TOKENS_PER_IMAGE = 1600
"""Upper end of what vendors bill for one image part: OpenAI's "Images and vision" has 85 + 170 for each of at most 8
tiles (1,445) for GPT-4o, and 1,536 patches for later models; its mini and nano models multiply that, GLM bills less.
"""


def estimate_tokens(text: str) -> int:
    """An upper-ish estimate for `text`: its UTF-8 bytes / 3, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def estimate_messages(messages: Iterable[Mapping[str, Any]], tools: Iterable[Mapping[str, Any]] | None = None) -> int:
    """An estimate for messages in OpenAI's shape, 4 each and what they hold, and for the offered tools."""
    total = 0
    for message in messages:
        total += TOKENS_PER_MESSAGE
        for name, value in message.items():
            if name == "content" and isinstance(value, list):
                total += sum(_of_part(part) for part in value)
            elif name != "role":
                total += _of(value)
    return total + sum(TOKENS_PER_MESSAGE + _of(tool) for tool in tools or ())


def _of_part(part: Any) -> int:
    """A part of a message's content. An image counts as one, and only there: a text that looks like one is text."""
    image = part.get("image_url") if isinstance(part, Mapping) and part.get("type") == "image_url" else None
    if not isinstance(image, Mapping):
        return _of(part)
    rest = {name: value for name, value in image.items() if name != "url"}
    return _of({"type": "image_url", "image_url": rest}) + _of("url") + TOKENS_PER_IMAGE


def _of(value: Any) -> int:
    """Every text inside a JSON value counts, names of fields too."""
    if isinstance(value, str):
        return estimate_tokens(value)
    if isinstance(value, Mapping):
        return sum(_of(key) + _of(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(_of(item) for item in value)
    return 0 if value is None else 1
