"""`manage.py refresh_catalog`: write llm/catalog.json from the price list in the package genai-prices.

genai-prices (MIT, a development dependency) carries its data in its wheel, so this reads no network; a new
list comes with a new version of it. Only the vendors that we have providers for are taken over:

- zhipuai (open.bigmodel.cn) and zai (z.ai), openai, anthropic, deepseek, moonshotai. Alibaba sells Qwen under names
  that genai-prices only knows from resellers, at their prices, so Qwen is not in the list and stays unpriced;
- prices are what the vendor asks on the given day, in US dollars (genai-prices converts Zhipu's yuan); where
  they depend on the hour, the dearest; where they rise with the input's length, the lowest step;
- of embeddings models the price of the input is taken (`embedding_price`); what is neither a chat nor an embeddings
  model (images, speech, completions of old) is left out.

LIMITS adds what genai-prices does not know. `--check` writes nothing and fails when the file would change.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from llm.catalog import CATALOG_FILE

VENDORS = ("zhipuai", "zai", "openai", "anthropic", "deepseek", "moonshotai")
_PRICES = {"input_price": "input_mtok", "output_price": "output_mtok", "cached_price": "cache_read_mtok"}
_NO_CHAT = frozenset({"image", "audio", "tts", "transcribe", "realtime", "whisper", "sora", "ocr"})
_NO_CHAT |= {
    "text-",
    "ada",
    "babbage",
    "curie",
    "davinci",
    "-instruct",
    "moderation",
    "gpt-live",
    "computer-use",
}
_NO_CHAT |= {"gpt-oss"}  # open weights: what they cost depends on who runs them

# (context, most output) in tokens, from the pages of the models at docs.bigmodel.cn.
_GLM_LONG, _GLM_45 = (200_000, 128_000), (128_000, 96_000)
LIMITS: dict[str, tuple[int, int | None]] = {
    "glm-5": _GLM_LONG,
    "glm-4.7": _GLM_LONG,
    "glm-4.6": _GLM_LONG,
    "glm-4.5": _GLM_45,
    "glm-4.5-air": _GLM_45,
    "glm-4.5-airx": _GLM_45,
    "glm-4.5-x": _GLM_45,
}
# What the embedded model server gives each answer; the model itself was trained for 8,192.
LOCAL = [{"names": ["smollm2", "smollm2-135m-instruct"], "context_tokens": 4096}]


class Command(BaseCommand):
    """See the module."""

    help = "Write llm/catalog.json from the development dependency genai-prices."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="fail if the file is not up to date; write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        present = orjson.loads(CATALOG_FILE.read_bytes()) if CATALOG_FILE.exists() else {}
        day = datetime.datetime.now(datetime.UTC).date()
        if options["check"] and present:
            day = datetime.date.fromisoformat(present["as_of"])
        content = rendered(day)
        if not options["check"]:
            CATALOG_FILE.write_bytes(content)
        elif not present or content != CATALOG_FILE.read_bytes():
            raise CommandError("llm/catalog.json is not up to date. Run: python manage.py refresh_catalog")
        self.stdout.write(f"{CATALOG_FILE.name}: {len(content):,} bytes, prices of {day}")


def rendered(day: datetime.date) -> bytes:
    """The file's content with the prices of `day`."""
    from genai_prices import data

    known = {provider.id: provider for provider in data.providers}
    vendors: dict[str, Any] = {vendor: _rows(known[vendor], day) for vendor in VENDORS}
    vendors["local"] = LOCAL
    document = {"source": "genai-prices (MIT)", "as_of": day.isoformat(), "vendors": vendors}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def _rows(provider: Any, day: datetime.date) -> list[dict[str, Any]]:
    rows = []
    for model in provider.models:
        names, families = _names(model.match)
        names = sorted({name.lower() for name in (*names, *families, model.id) if not name.endswith("-")})
        embeds = any("embedding" in name for name in names)
        if not embeds and any(word in name for name in names for word in _NO_CHAT):
            continue
        row: dict[str, Any] = {"names": names, **(_embedding_price if embeds else _prices)(model, day)}
        if embeds and len(row) == 1:
            continue
        if families:
            row["families"] = sorted({family.lower().rstrip("-") for family in families})
        limits = LIMITS.get(model.id.lower(), (None, None))
        context = model.context_window or limits[0]
        if context:
            row["context_tokens"] = context
        if limits[1]:
            row["max_output_tokens"] = limits[1]
        rows.append(row)
    return rows


def _prices(model: Any, day: datetime.date) -> dict[str, str]:
    """The day's prices as decimal text; of the day's hours, the dearest by input."""
    hours = (datetime.datetime.combine(day, datetime.time(hour, 30), datetime.UTC) for hour in range(24))
    dearest = max(
        (model.get_prices(hour) for hour in hours), key=lambda price: _base(price, "input_mtok") or Decimal(0)
    )
    found = {ours: _base(dearest, theirs) for ours, theirs in _PRICES.items()}
    if found["input_price"] is None or found["output_price"] is None:
        return {}
    return {name: str(price) for name, price in found.items() if price is not None}


def _embedding_price(model: Any, day: datetime.date) -> dict[str, str]:
    noon = datetime.datetime.combine(day, datetime.time(12), datetime.UTC)
    price = _base(model.get_prices(noon), "input_mtok")
    return {} if price is None else {"embedding_price": str(price)}


def _base(price: Any, name: str) -> Decimal | None:
    value = getattr(price, name, None)
    return value if value is None or isinstance(value, Decimal) else value.base


def _names(clause: Any) -> tuple[list[str], list[str]]:
    """(exact names, family names) of a match clause; other clauses than these two are left out."""
    if (exact := getattr(clause, "equals", None)) is not None:
        return [exact], []
    if (family := getattr(clause, "starts_with", None)) is not None:
        return [], [family]
    names: list[str] = []
    families: list[str] = []
    for part in getattr(clause, "or_", ()):
        more_names, more_families = _names(part)
        names += more_names
        families += more_families
    return names, families
