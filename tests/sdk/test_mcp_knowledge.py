"""The official MCP SDK for Python reads a workspace's knowledge at `/mcp`: both ways that the protocol has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.files import no_files  # noqa: F401  # the fixture
from tests.knowledge.conftest import ingested, make, put
from tests.lazy import Lazy

sdk = Lazy("mcp")
pytestmark = pytest.mark.exhaustive  # to load this SDK takes longer than to use it


@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_it_searches_and_reads(connect: Any, actor: Any, era: str, no_files: None) -> None:
    owner = actor("owner")
    make(owner, "rules_of-work")  # names of hosts have no underscores; this is none
    put(owner, "rules_of-work", ("travel.md", b"# Trains\nTake the train in second class."), tags=["travel"])
    await ingested(owner)
    async with connect(era, ["knowledge:read"]) as client:
        assert client.server_capabilities.resources is not None
        (tool,) = (await client.list_tools()).tools
        assert (tool.name, tool.annotations.read_only_hint) == ("searchKnowledge", True)
        found = await client.call_tool("searchKnowledge", {"query": "second class train", "tags": ["travel"]})
        (passage,) = found.structured_content["passages"]
        assert (found.is_error, json.loads(found.content[0].text)) == (False, found.structured_content)
        assert (passage["base"], passage["title"], passage["heading"]) == ("rules_of-work", "travel.md", "Trains")
        assert passage["text"] == "Take the train in second class."
        listed = await client.list_resources()
        (resource,) = listed.resources
        assert (found.content[1].type, found.content[1].uri) == ("resource_link", resource.uri)
        assert passage["uri"] == resource.uri
        assert listed.next_cursor is None
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "knowledge://{base}/{document}{?after}"
        (content,) = (await client.read_resource(resource.uri)).contents
        assert content.text == "## Trains\nTake the train in second class."
        with pytest.raises(sdk.MCPError, match="no such resource"):
            await client.read_resource(resource.uri[:-1] + "x")
        with pytest.raises(sdk.MCPError, match="base must be one of"):
            await client.call_tool("searchKnowledge", {"query": "x", "base": "others"})
