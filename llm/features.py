"""What models can do beyond text: the words for it, and what vendors document of their families of models.

Nothing is sent to a model that is not known to take it: a model that ignores a schema, or cannot see a picture, gives
an answer that looks right and is not. For a model that nobody lists here, the account says it (`features` of the
model's entry in `ProviderAccount.models`).
"""

from __future__ import annotations

import re

TOOLS = "tools"  # functions of the caller
TOOL_CHOICE = "tool_choice"  # that some tool, or this one, must be called
JSON = "json"  # response_format json_object
JSON_SCHEMA = "json_schema"  # response_format json_schema
IMAGES = "images"
REASONING_EFFORT = "reasoning_effort"
FEATURES = (TOOLS, TOOL_CHOICE, JSON, JSON_SCHEMA, IMAGES, REASONING_EFFORT)

# A vendor that does not know tools says so itself; a model that is not listed is given them.
ASSUMED = frozenset({TOOLS, TOOL_CHOICE})
_TALKS = ASSUMED | {JSON}
_SEES = _TALKS | {JSON_SCHEMA, IMAGES}

# vendor -> (pattern of the whole name, what it can do), the first that fits. From the vendors' API documentation:
# OpenAI's and Anthropic's model pages, DashScope's "Function calling" (no forced choice where models think),
# DeepSeek's "JSON Output", Moonshot's "Use Kimi vision model", Zhipu's "Structured output" (GLM: JSON without a schema,
# tool_choice "auto" only).
_FAMILIES: dict[str, tuple[tuple[str, frozenset[str]], ...]] = {
    "openai": (
        (r"o1-(mini|preview).*", frozenset()),
        (r"gpt-.*(audio|realtime|transcribe|tts|image).*", frozenset()),
        (r"gpt-3\.5-turbo.*", _TALKS),
        (r"gpt-4-turbo.*", _TALKS | {IMAGES}),
        (r"(gpt-4o|gpt-4\.[15]|chatgpt-4o).*", _SEES),
        (r"o3-mini.*", _TALKS | {JSON_SCHEMA, REASONING_EFFORT}),
        (r"(o1|o3|o4-mini)(-.*)?|gpt-[5-9].*", _SEES | {REASONING_EFFORT}),
    ),
    "anthropic": ((r"claude-.*", ASSUMED | {IMAGES}),),
    "alibaba": (
        (r"(qwen.*-?vl|qvq).*", frozenset({TOOLS, IMAGES})),
        (r"qwen.*", frozenset({TOOLS, JSON})),
    ),
    "deepseek": ((r"deepseek-.*", _TALKS),),
    "moonshotai": (
        (r"kimi-(k2\.[5-9]|k[3-9]).*|moonshot-v1-.*vision.*", _TALKS | {IMAGES}),
        (r"(kimi|moonshot)-.*", _TALKS),
    ),
    "zhipu": (
        (r"glm-\d(\.\d+)?v.*", frozenset({TOOLS, IMAGES})),
        (r"glm-.*", frozenset({TOOLS, JSON})),
        (r".*", frozenset({TOOLS})),
    ),
    "local": ((r"smollm2.*", frozenset()),),
}
# As llm.catalog calls them, and kinds of providers whose vendor has another name.
_VENDORS = {"zhipuai": "zhipu", "zai": "zhipu", "qwen": "alibaba", "moonshot": "moonshotai"}


def features_of(vendor: str, model: str) -> frozenset[str]:
    """What a vendor's model is documented to do; ASSUMED when nobody says."""
    name = model.lower()
    for pattern, found in _FAMILIES.get(_VENDORS.get(vendor, vendor), ()):
        if re.fullmatch(pattern, name):
            return found
    return ASSUMED
