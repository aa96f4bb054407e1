"""OpenAI's responses: the official SDK unmodified against the real server."""

from __future__ import annotations

from typing import Any

from bench.answers import token_text
from tests.chat.test_openai import sdk


async def test_the_sdk_streams_completes_and_lists(site: Any, api_key: Any, agent: Any) -> None:
    model = agent("reasoning-8")
    async with sdk(site, api_key()) as client:
        stream = await client.responses.create(model=model, input="Hello?", stream=True)
        events = [event async for event in stream]
        for e in events:
            print(e.to_json(indent=None))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert text == "".join(token_text(8))
        again = await client.responses.retrieve(events[0].response.id)
        assert again == events[-1].response
        whole = await client.responses.create(model=model, input="Hello?", previous_response_id=again.id)
        print(whole)
        print(await client.responses.input_items.list(whole.id))
        await client.responses.delete(again.id)
