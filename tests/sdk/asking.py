"""What all clients ask."""

from __future__ import annotations

import base64

ALL_FEATURES = ["tools", "tool_choice", "json", "json_schema", "images", "reasoning_effort"]
TOOL = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Looks a city up.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"picture").decode()
PICTURE = f"data:image/png;base64,{PNG}"
ASKED = '{"city": "Oslo"}'  # the vendor's model makes it the arguments of its call, or its answer
