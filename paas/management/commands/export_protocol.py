"""The JSON Schema of run events, from which clients generate their types."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.runtime.events import DATA_TYPES, TERMINAL, VERSION

PLACE = "docs/protocol/run-events.schema.json"


def schema() -> dict[str, Any]:
    """The schema of every envelope, one alternative per event type."""
    from pydantic import TypeAdapter

    definitions: dict[str, Any] = {}
    events = []
    for kind, data_type in DATA_TYPES.items():
        data = TypeAdapter(data_type).json_schema(ref_template="#/$defs/{model}")
        definitions |= data.pop("$defs", {})
        name = data.get("title", kind)
        definitions[name] = data
        title = "".join(part.title() for part in kind.split("."))
        definitions[title] = {
            "type": "object",
            "title": title,
            "additionalProperties": False,
            "properties": {
                "v": {"const": VERSION},
                "run_id": {"type": "string", "format": "uuid"},
                "seq": {"type": "integer", "minimum": 1},
                "type": {"const": kind},
                "data": {"$ref": f"#/$defs/{name}"},
            },
            "required": ["v", "run_id", "seq", "type", "data"],
        }
        events.append({"$ref": f"#/$defs/{title}"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "RunEvent",
        "description": f"One event of a run. Terminal: {', '.join(sorted(TERMINAL))}.",
        "oneOf": events,
        "$defs": dict(sorted(definitions.items())),
    }


class Command(BaseCommand):
    help = f"Write {PLACE} (--check: fail when it is out of date)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = settings.ROOT / PLACE
        text = json.dumps(schema(), indent=2) + "\n"
        if options["check"]:
            if not path.exists() or path.read_text() != text:
                raise CommandError(f"{PLACE} is out of date: run `manage.py export_protocol`.")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
