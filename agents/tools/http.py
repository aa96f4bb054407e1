"""Tools that a workspace builds of HTTP requests: an address, parameters and where they go, what is read of the answer.

The address has no parameter in its host. A secret is bound to the host that it was entered for: it is sent there and
nowhere else, no redirect is followed, and an answer that repeats it is told without it (P52, A58).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import ClientError
from yarl import URL

from agents.tools.spec import Effect, ToolContext, ToolResult, ToolSpec
from core.egress import check_url
from core.errors import PaasError
from tenants.egress import egress_policy
from tenants.pages import MOST_BYTES, TEXTUAL, guarded_session

MOST_SECONDS = 10.0
SECRET = "{{secret}}"  # noqa: S105 - where in a header the secret goes
PLACE = re.compile(r"\{([a-zA-Z0-9_]{1,64})\}")
HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
# Of the connection and of who asks: no tool sets them.
RESERVED = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "expect", "trailer"}
)


@dataclass(frozen=True)
class HttpTool:
    """One such tool as a value, with its secret in the clear: keep it in memory, never store it."""

    name: str
    description: str
    method: str
    url: str
    parameters: tuple[dict[str, Any], ...]
    headers: dict[str, str] = field(default_factory=dict)
    secret: str = field(default="", repr=False)
    secret_host: str = ""
    result_path: str = ""

    @property
    def effect(self) -> Effect:
        """Reading asks a host outside; any other method may change something there."""
        return "egress" if self.method == "GET" else "write"

    def spec(self) -> ToolSpec:
        """As models are offered it."""
        properties = {
            one["name"]: {"type": one.get("type", "string"), "description": one.get("description", "")}
            for one in self.parameters
        }
        required = [one["name"] for one in self.parameters if one.get("required", one["in"] == "path")]
        schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

        async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
            return await request(self, arguments)

        return ToolSpec(
            self.name,
            self.description,
            schema,
            self.effect,
            call,
            tainted=True,
            kind="http",
            definition=self.definition,
        )

    @property
    def definition(self) -> str:
        """As `ToolSpec.definition`. The secret is left out: with another one the same is sent to the same host."""
        said = [self.description, self.method, self.url, self.parameters, self.headers, self.secret_host]
        return hashlib.sha256(orjson.dumps([*said, self.result_path], option=orjson.OPT_SORT_KEYS)).hexdigest()


def built(tool: HttpTool, arguments: dict[str, Any]) -> tuple[URL, dict[str, str], dict[str, Any] | None]:
    """(address, headers, body) of a call. Raises PaasError tool_failed for a value that may not stand there (A55)."""
    path, query, headers, body = _placed(tool, arguments)
    if missing := set(PLACE.findall(tool.url)) - path.keys():
        raise PaasError("tool_failed", f"{min(missing)} is missing, which the address needs.")
    filled = PLACE.sub(lambda found: path[found[1]], tool.url)
    try:
        url = URL(filled, encoded=True)
        url = url.update_query(query) if query else url
    except ValueError:
        raise PaasError("tool_failed", "The address of this tool is not valid.") from None
    if SECRET in "".join(tool.headers.values()) and (url.raw_host or "") != tool.secret_host:
        raise PaasError("tool_failed", "The secret of this tool belongs to another host. Enter it again.")
    headers |= {name: value.replace(SECRET, tool.secret) for name, value in tool.headers.items()}
    return url, headers, body if tool.method != "GET" and body else None


def _placed(
    tool: HttpTool, arguments: dict[str, Any]
) -> tuple[dict[str, str], list[tuple[str, str]], dict[str, str], dict[str, Any]]:
    """The arguments by where they go: (path, query, headers, body)."""
    path: dict[str, str] = {}
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    fixed = {name.lower() for name in tool.headers}
    for one in tool.parameters:
        name, where = one["name"], one["in"]
        value = arguments.get(name)
        if value is None:
            continue
        if where == "body":
            body[name] = value
            continue
        text = _storable(name, value if isinstance(value, str) else orjson.dumps(value).decode())
        if where == "path":
            if text in ("", ".", ".."):
                raise PaasError("tool_failed", f"{name} may not be empty or dots.")
            path[name] = quote(text, safe="")
        elif where == "query":
            query.append((name, text))
        else:
            headers[name] = _header(name, text, fixed)
    return path, query, headers, body


def _header(name: str, text: str, fixed: set[str]) -> str:
    if not text.isprintable() or not text.isascii():
        raise PaasError("tool_failed", f"{name} has a character that no header has.")
    if name.lower() in fixed:  # beside it, which one counts would be the service's to say
        raise PaasError("tool_failed", f"The header {name} is this tool's own.")
    return text


def _storable(name: str, text: str) -> str:
    """The text, if it can be written in bytes: half a pair of surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PaasError("tool_failed", f"{name} has a character that cannot be sent.") from None
    return text


async def request(tool: HttpTool, arguments: dict[str, Any]) -> ToolResult:
    """What the service said. Raises PaasError tool_failed with a sentence for the model."""
    url, headers, body = built(tool, arguments)
    try:
        async with asyncio.timeout(MOST_SECONDS):
            check_url(url, egress_policy())
            status, text, cut = await _sent(tool.method, url, headers, body)
    except TimeoutError:
        raise PaasError("tool_failed", f"The service took more than {MOST_SECONDS:.0f} seconds.") from None
    except PaasError as error:
        raise PaasError("tool_failed", error.message) from None
    except (ClientError, OSError, ValueError):
        raise PaasError("tool_failed", "The service cannot be reached.") from None
    if tool.secret:
        text = text.replace(tool.secret, "[secret]")
    if status >= 300:
        return ToolResult(f"The service answered with status {status}.\n{text[:1000]}", is_error=True)
    return ToolResult((_mapped(text, tool.result_path) if tool.result_path and not cut else text) or "Done.")


async def _sent(method: str, url: URL, headers: dict[str, str], body: Any) -> tuple[int, str, bool]:
    async with (
        guarded_session() as session,
        session.request(method, url, headers=headers, json=body, allow_redirects=False) as answer,
    ):
        if answer.content_type and not answer.content_type.startswith(TEXTUAL) and answer.status == 200:
            raise PaasError("tool_failed", "The service answered with something that is not a text.")
        read = b""
        async for part in answer.content.iter_chunked(65536):
            read += part
            if len(read) > MOST_BYTES:
                break
        return answer.status, read[:MOST_BYTES].decode("utf-8", "replace"), len(read) > MOST_BYTES


def _mapped(text: str, path: str) -> str:
    """The part of a JSON answer that a path such as `data.items.0.title` leads to. Raises PaasError tool_failed."""
    try:
        found = orjson.loads(text)
        for step in path.split("."):
            found = found[int(step)] if isinstance(found, list) else found[step]
    except (ValueError, KeyError, IndexError, TypeError):
        raise PaasError("tool_failed", f"The answer of the service has no {path!r}.") from None
    return found if isinstance(found, str) else orjson.dumps(found).decode()
