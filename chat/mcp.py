"""The Model Context Protocol as a server speaks it: what `/mcp` is told and what it answers, as values.

Two ways are spoken. Up to 2025-11-25 a client begins with `initialize`; since 2026-07-28 each request stands alone and
says its version in `params._meta`, and again in headers that must agree. Nothing is kept between requests in either:
a session id only tells the calls of one client apart, is bound to whoever was given it, and opens nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings

from accounts.actors import Actor
from core.crypto import token_digest
from core.errors import ERRORS, PaasError
from core.ids import uuid7

LATEST = "2026-07-28"
WITH_HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
VERSIONS = (LATEST, *WITH_HANDSHAKE)
UNSAID = "2025-03-26"  # what a client speaks that names no version (2025-06-18, "Protocol Version Header")
SESSION = "mcp-session-id"
VERSION = "mcp-protocol-version"
META = "io.modelcontextprotocol/"
NAMED = {"tools/call": "name", "resources/read": "uri"}  # method -> what of its params the header Mcp-Name repeats

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022
REFUSED = -32003  # of ours: no right, too often, not found; `data.code` says which
CODES = {
    "malformed_json": PARSE_ERROR,
    "validation_failed": INVALID_PARAMS,
    "request_too_large": INVALID_REQUEST,
    "internal_error": INTERNAL_ERROR,
}
MOST_ID_CHARS = 200
INPUT = {
    "type": "object",
    "properties": {
        "message": {"type": "string", "description": "What to ask or tell the agent."},
        "conversation_id": {
            "type": "string",
            "description": "To go on in a conversation: the conversation_id of an earlier answer of this agent.",
        },
    },
    "required": ["message"],
    "additionalProperties": False,
}
OUTPUT = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "conversation_id": {"type": "string"},
        "run_id": {"type": "string"},
        "finish_reason": {"type": "string"},
    },
    "required": ["answer", "conversation_id", "run_id"],
}
INSTRUCTIONS = (
    "The tools are agents of this workspace: give one a message, and it answers. "
    "To go on in the same conversation, send the conversation_id of its answer along."
)


class RpcError(Exception):
    """An error of the protocol itself. status: of the HTTP answer; the old versions report in a 200 what is no fault of
    the envelope."""

    def __init__(self, code: int, message: str, data: Any = None, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.data, self.status = code, message, data, status


@dataclass(frozen=True, slots=True)
class Call:
    """One message of a client, checked. id: None for a notification."""

    method: str
    params: dict[str, Any]
    id: str | int | None
    version: str

    @property
    def modern(self) -> bool:
        """Whether it stands alone."""
        return self.version == LATEST

    @property
    def progress_token(self) -> str | int | None:
        """Under which progress is told; None when it is not asked for."""
        token = _meta(self.params).get("progressToken")
        return token if _is_id(token) else None


def call_of(body: Mapping[str, Any], headers: Mapping[str, str]) -> Call:
    """The message in a request. Raises RpcError for one that is none, or contradicts its headers."""
    method, params, told = body.get("method"), body.get("params", {}), "id" in body
    if body.get("jsonrpc") != "2.0" or not isinstance(method, str) or not isinstance(params, dict):
        raise RpcError(INVALID_REQUEST, "The body must be one JSON-RPC 2.0 request or notification.")
    if told and not _is_id(body["id"]):
        raise RpcError(INVALID_REQUEST, f"id must be a number, or a text of at most {MOST_ID_CHARS} characters.")
    version = headers.get(VERSION, UNSAID)
    if version not in VERSIONS:
        raise RpcError(
            UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            {"supported": list(VERSIONS), "requested": version[:40]},
        )
    call = Call(method, params, body["id"] if told else None, version)
    if call.modern and told:
        _check_envelope(call, headers)
    return call


def _check_envelope(call: Call, headers: Mapping[str, str]) -> None:
    meta = _meta(call.params)
    missing = [key for key in (f"{META}protocolVersion", f"{META}clientCapabilities") if key not in meta]
    if missing:
        raise RpcError(INVALID_PARAMS, f"params._meta lacks {', '.join(missing)}.")
    if meta[f"{META}protocolVersion"] != call.version:
        raise RpcError(HEADER_MISMATCH, "MCP-Protocol-Version is not the version in params._meta.")
    if headers.get("mcp-method") != call.method:
        raise RpcError(HEADER_MISMATCH, "Mcp-Method is not the method of the body.")
    field = NAMED.get(call.method, "")
    name = call.params.get(field)
    if field and name is not None and _decoded(headers.get("mcp-name", "")) != name:
        raise RpcError(HEADER_MISMATCH, f"Mcp-Name is not the {field} in the body.")


def _decoded(header: str) -> str | None:
    """A header's text; `=?base64?...?=` holds what no header could."""
    if not (header.startswith("=?base64?") and header.endswith("?=")):
        return header
    try:
        return base64.b64decode(header[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MOST_ID_CHARS
    return isinstance(value, int) and not isinstance(value, bool)


def _meta(params: Mapping[str, Any]) -> dict[str, Any]:
    found = params.get("_meta")
    return found if isinstance(found, dict) else {}


# --- sessions ------------------------------------------------------------------------------------------


def new_session(actor: Actor) -> str:
    """A session id for this actor alone."""
    name = uuid7().hex
    return f"{name}{_seal(actor, name)}"


def check_session(actor: Actor, session: str) -> None:
    """Raises not_found for an id that was not given to `actor`: clients begin anew then."""
    name, seal = session[:32], session[32:]
    if not hmac.compare_digest(seal.encode(), _seal(actor, name).encode()):
        raise PaasError("not_found", "This session is not known here. Begin a new one.")


def _seal(actor: Actor, name: str) -> str:
    return token_digest(settings.API_KEY_PEPPER, f"mcp:{actor.tenant.id}:{actor.label}:{name}").hex()[:32]


def key_of_call(session: str, call_id: Any) -> str:
    """The idempotency key of a call in a session: ids are never used twice there, so the same id is the same call."""
    return "mcp:" + hashlib.sha256(session.encode() + b"\n" + orjson.dumps(call_id)).hexdigest()


# --- answers -------------------------------------------------------------------------------------------


def answer(call: Call, result: dict[str, Any]) -> dict[str, Any]:
    """The answer to `call`."""
    if call.modern:
        result = {"resultType": "complete", "_meta": {f"{META}serverInfo": _server("")}} | result
    return {"jsonrpc": "2.0", "id": call.id, "result": result}


def progress(token: str | int, done: int, message: str) -> dict[str, Any]:
    """A notification of how far an answer is: how many characters there are, and those that are new."""
    params = {"progressToken": token, "progress": done} | ({"message": message} if message else {})
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def failure(error: RpcError, call_id: str | int | None) -> dict[str, Any]:
    """An error of the protocol as a message."""
    found = {"code": error.code, "message": error.message} | ({"data": error.data} if error.data is not None else {})
    return {"jsonrpc": "2.0", "id": call_id, "error": found}


def refusal(error: PaasError, call_id: str | int | None, request_id: str) -> dict[str, Any]:
    """One of our errors as a message; `data` is what our own API would say."""
    code = CODES.get(error.code, REFUSED)
    return failure(RpcError(code, error.message, error.as_native(request_id)["error"]), call_id)


def initialized(call: Call, name: str, offer: dict[str, Any]) -> dict[str, Any]:
    """What `initialize` is answered: the version that was asked for if it is spoken here, else the newest.

    offer: the capabilities and instructions.
    """
    asked = call.params.get("protocolVersion")
    version = asked if asked in WITH_HANDSHAKE else WITH_HANDSHAKE[0]
    return {"protocolVersion": version, "serverInfo": _server(name)} | offer


def discovered(name: str, offer: dict[str, Any]) -> dict[str, Any]:
    """What `server/discover` is answered; offer: as for `initialized`."""
    return {
        "supportedVersions": list(VERSIONS),
        **offer,
        "_meta": {f"{META}serverInfo": _server(name)},
        "ttlMs": 0,
        "cacheScope": "private",
    }


def listed(result: dict[str, Any], call: Call) -> dict[str, Any]:
    """What is there now, for this caller: the new revision says so in each such answer."""
    return result | ({"ttlMs": 0, "cacheScope": "private"} if call.modern else {})


def agent_tools(agents: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Agents as `tools/list` has them. agents: (slug, name, description)."""
    return [
        {
            "name": slug,
            "title": name,
            "description": description or f"Ask the agent {name}.",
            "inputSchema": INPUT,
            "outputSchema": OUTPUT,
        }
        for slug, name, description in agents
    ]


def asked_of(call: Call) -> tuple[str, str, str | None]:
    """(agent, message, conversation id) of a `tools/call`. Raises RpcError."""
    name, given = call.params.get("name"), call.params.get("arguments") or {}
    if not isinstance(name, str) or not isinstance(given, dict):
        raise RpcError(INVALID_PARAMS, "name is a text, arguments an object.", status=status_of(call))
    message, conversation = given.get("message"), given.get("conversation_id")
    unknown = sorted(set(given) - INPUT["properties"].keys())  # type: ignore[attr-defined]
    if unknown or not isinstance(message, str) or not isinstance(conversation, str | None):
        raise RpcError(
            INVALID_PARAMS, "The arguments are message, a text, and conversation_id, if any.", status=status_of(call)
        )
    return name, message, conversation


def unknown_tool(call: Call) -> RpcError:
    """For an agent that is not there, or not for whoever asks."""
    return RpcError(INVALID_PARAMS, "There is no such tool.", status=status_of(call))


def unknown_method(call: Call) -> RpcError:
    """For what is not spoken here."""
    return RpcError(METHOD_NOT_FOUND, "Method not found", status=404 if call.modern else 200)


def status_of(call: Call) -> int:
    """Of the HTTP answer that says that a request was wrong."""
    return 400 if call.modern else 200


def said(text: str, conversation_id: object, run_id: object, finish_reason: str) -> dict[str, Any]:
    """An agent's whole answer as a tool's result."""
    data = {"answer": text, "conversation_id": str(conversation_id), "run_id": str(run_id)}
    return {
        "content": [{"type": "text", "text": text}],
        "structuredContent": data | {"finish_reason": finish_reason},
        "isError": False,
    }


def unsaid(
    code: str, message: str, details: Mapping[str, Any] | None = None, *, ids: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Why there is no answer, as a tool's result: a model may make something of it."""
    error: dict[str, Any] = {"code": code, "message": message, "details": dict(details or {})}
    error["retryable"] = code in ERRORS and ERRORS[code].retryable
    named = {name: str(value) for name, value in (ids or {}).items()}
    return {
        "content": [{"type": "text", "text": message}],
        "structuredContent": {"error": error, **named},
        "isError": True,
    }


def _server(name: str) -> dict[str, str]:
    return {"name": "agent-paas", "version": "1"} | ({"title": name} if name else {})
