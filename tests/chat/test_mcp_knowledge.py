"""Knowledge at `/mcp`: who finds what there, in which messages. (With the official client: tests/sdk/test_mcp_knowledge.py.)"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chat import mcp, mcp_knowledge
from knowledge import documents
from tests.attack.knocking import key_of, tokens_of
from tests.chat.test_mcp import rpc
from tests.files import no_files  # noqa: F401  # the fixture
from tests.knowledge.conftest import bound, ingested, make, put

Post = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]
NEW = {"MCP-Protocol-Version": "2025-11-25"}
CANARY = "canary-77aa"


@pytest.fixture
def post(site: Any) -> Callable[[str], Post]:
    """`post(token)("resources/list")`: (status, the whole answer)."""

    def of(token: str, slug: str = "acme") -> Post:
        client = site.client(slug, token=token)

        async def ask(method: str, params: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
            async with client.post("/mcp", json=rpc(method, params), headers=NEW | headers) as answer:
                return answer.status, await answer.json()

        return ask

    return of


def searching(**arguments: Any) -> dict[str, Any]:
    return {"name": mcp_knowledge.SEARCH, "arguments": arguments}


@pytest.fixture
async def board(db: Any, site: Any, actor: Any, no_files: None) -> str:
    """Bases `open` and `board` of acme, and `board` of globex; the uri of acme's document in `board`."""
    owner, rival = actor("owner"), actor("rival")
    make(owner, "open", description="What everybody\nmay know")
    make(owner, "board", access="restricted", roles=["admin"])
    make(rival, "board")
    put(owner, "open", ("open.md", b"# Holidays\nThe holiday list is open."), tags=["hr"], metadata={"year": 2026})
    (secret,) = put(owner, "board", ("board.md", f"The salary list is {CANARY}.".encode()))
    put(rival, "board", ("rival.md", b"The salary list of globex."))
    await ingested(owner)
    await ingested(rival)
    return f"knowledge://board/{secret.id}"


async def test_what_a_key_is_for_is_what_it_is_offered(db: Any, post: Any, board: str) -> None:
    """A right is asked for by what a message wants, and nothing is announced that would be refused."""
    for scopes, tools, offered in (
        ("knowledge:read", ["searchKnowledge"], {"tools", "resources"}),
        ("chat:read", ["assistant"], {"tools"}),
        ("chat:read knowledge:read", ["assistant", "searchKnowledge"], {"tools", "resources"}),
        ("usage:read", None, set()),
    ):
        ask = post(key_of(db.acme, scopes))
        _, told = await ask("initialize", {"protocolVersion": "2025-11-25"})
        assert told["result"]["capabilities"].keys() == offered
        assert ("searchKnowledge" in told["result"]["instructions"]) is ("resources" in offered)
        status, told = await ask("tools/list")
        if tools is None:
            assert (status, told["error"]["data"]["code"]) == (403, "permission_denied")
        else:
            assert [one["name"] for one in told["result"]["tools"]] == tools
        allowed = 200 if "knowledge:read" in scopes else 403
        for method, params in (
            ("tools/call", searching(query="holiday")),
            ("resources/list", None),
            ("resources/templates/list", None),
            ("resources/read", {"uri": board}),
        ):
            assert (await ask(method, params))[0] == allowed, (scopes, method)
    status, told = await post(key_of(db.acme, "knowledge:read"))(
        "tools/call", {"name": "assistant", "arguments": {"message": "Hi"}}
    )
    assert (status, told["error"]["data"]["code"]) == (403, "permission_denied")


async def test_who_finds_what(db: Any, post: Any, board: str) -> None:
    """A1, A9: by role, by key, and nobody another workspace's; a foreign document is one that never was."""
    asking = {
        "admin": post(tokens_of(db.acme, "admin@acme.test")[0]),
        "writing key": post(key_of(db.acme, "knowledge:read knowledge:write")),
        "member": post(tokens_of(db.acme, "member@acme.test")[0]),
        "reading key": post(key_of(db.acme, "knowledge:read")),
        "rival's key": post(key_of(db.globex, "*"), "globex"),
    }
    for who, ask in asking.items():
        sees, own = who in ("admin", "writing key"), who != "rival's key"
        _, listed = await ask("tools/list")
        tool = next(one for one in listed["result"]["tools"] if one["name"] == "searchKnowledge")
        slugs = ["board", "open"] if sees else ["open"] if own else ["board"]
        assert tool["inputSchema"]["properties"]["base"]["enum"] == slugs
        assert ("- open: open. What everybody may know" in tool["description"]) is own
        told = [await ask("tools/call", searching(query="salary list", top_k=50)), await ask("resources/list")]
        told.append(await ask("resources/read", {"uri": board}))
        assert (CANARY in str(told)) is sees, who
        assert (board in str(told[:2])) is sees, who
        if not sees:
            unknown = f"knowledge://board/{uuid.uuid4()}"
            _, never = await ask("resources/read", {"uri": unknown})
            assert str(told[2][1]).replace(board, "") == str(never).replace(unknown, ""), who
            assert never["error"]["code"] == -32002
    _, refused = await asking["member"]("tools/call", searching(query="x", base="board"))
    _, never_was = await asking["member"]("tools/call", searching(query="x", base="nothing"))
    assert refused == never_was
    assert refused["error"]["code"] == mcp.INVALID_PARAMS


@pytest.mark.exhaustive
async def test_filters_and_what_does_not_fit(post: Any, api_key: Any, board: str) -> None:
    ask = post(api_key(scopes=["knowledge:read"]))
    for filters, count in (
        ({"tags": ["hr"], "metadata": {"year": 2026}, "base": "open", "top_k": 1.0}, 1),
        ({"tags": ["it"]}, 0),
        ({"metadata": {"year": 2025}}, 0),
    ):
        _, told = await ask("tools/call", searching(query="holiday list", **filters))
        assert len(told["result"]["structuredContent"]["passages"]) == count, filters
    for wrong in (
        {}, {"query": ""}, {"query": 7}, {"query": "x" * 2001}, {"query": "x", "top_k": 0}, {"query": "x", "top_k": 51},
        {"query": "x", "tags": "hr"}, {"query": "x", "bases": ["open"]}, {"query": "a\x00b"},
    ):  # fmt: skip
        status, told = await ask("tools/call", searching(**wrong))
        assert (status, told["error"]["code"]) == (200, mcp.INVALID_PARAMS), wrong
    for refused in ({"query": " "}, {"query": "x", "metadata": {"a": []}}, {"query": "x", "tags": [""]}):
        status, told = await ask("tools/call", searching(**refused))
        assert (status, told["result"]["isError"]) == (200, True), refused
        assert told["result"]["structuredContent"]["error"]["code"] == "validation_failed"
    for uri in (None, 7, "knowledge://open", "file:///etc/passwd", f"knowledge://open/{'-' * 36}", board + "?after=x"):
        assert (await ask("resources/read", {"uri": uri}))[1]["error"]["code"] == -32002, uri
    for cursor in (7, "x", "", board):
        assert (await ask("resources/list", {"cursor": cursor}))[1]["error"]["code"] == mcp.INVALID_PARAMS, cursor
    old = searching(query="holiday")
    _, told = await ask("tools/call", old, **{"MCP-Protocol-Version": "2025-03-26"})
    assert [one["type"] for one in told["result"]["content"]] == ["text"], "older clients know no links"


@pytest.mark.exhaustive
async def test_pages_of_documents_and_long_ones(
    post: Any, api_key: Any, actor: Any, board: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each document is listed once; a long one is read to its end, and nothing of it twice."""
    owner = actor("owner")
    lines = [f"Line {number} says something about the matter of number {number}." for number in range(120)]
    make(owner, "long", chunk_size=60, chunk_overlap=30)
    (long,) = put(owner, "long", ("long.txt", "\n\n".join(lines).encode()))
    (unready,) = put(owner, "open", ("later.md", b"Later."))
    bound(owner, lambda: documents.document_cancel(actor=owner, slug="open", document_id=unready.id))
    await ingested(owner)
    monkeypatch.setattr(mcp_knowledge, "PAGE", 1)
    monkeypatch.setattr(mcp_knowledge, "MOST_CHARS", 1500)
    ask = post(api_key(scopes=["knowledge:read"]))
    seen, params = [], {}
    while True:
        page = (await ask("resources/list", params))[1]["result"]
        seen += [one["title"] for one in page["resources"]]
        if "nextCursor" not in page:
            break
        params = {"cursor": page["nextCursor"]}
    assert seen == ["long.txt", "open.md"]
    uri, text, steps = f"knowledge://long/{long.id}", "", 0
    while uri:
        (content,) = (await ask("resources/read", {"uri": uri}))[1]["result"]["contents"]
        uri = content.get("_meta", {}).get("next", "")
        text, steps = f"{text}\n{content['text']}", steps + 1
    assert steps > 2
    for line in lines:  # the last one before a cut is told again behind it, for the overlap is what links them
        assert 1 <= text.count(line) <= 2
    assert sum(text.count(line) for line in lines) <= len(lines) + 2 * steps
