"""What PostgreSQL can hold of what people send."""

from __future__ import annotations

import json
from typing import Any


def storable(value: Any) -> bool:
    """Whether PostgreSQL can hold a JSON value: no NUL, and no half of a pair of surrogates."""
    try:
        return b"\\u0000" not in json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
