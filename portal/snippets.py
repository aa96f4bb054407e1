"""What to paste into a program that is to talk to an agent: for curl, Python, Node, and a websocket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from tenants import resolve

# What stands for a key where none is shown.
PLACEHOLDER = "YOUR_API_KEY"


@dataclass(frozen=True, slots=True)
class Snippet:
    """One example. name: of its elements; needs: what is installed first, "" for nothing."""

    name: str
    label: str
    needs: str
    code: str


def snippets(slug: str, agent: str, token: str = PLACEHOLDER) -> list[Snippet]:
    """Examples that ask an agent (its slug) of the workspace `slug`, with this key."""
    origin = origin_for_programs(slug)
    return [
        Snippet("curl", "curl", "", _curl(origin, agent, token)),
        Snippet("python", _("Python, with OpenAI's library"), "pip install openai", _python(origin, agent, token)),
        Snippet("node", _("Node.js, with OpenAI's library"), "npm install openai", _node(origin, agent, token)),
        Snippet("websocket", _("Websocket, in Python"), "pip install websockets", _websocket(slug, agent, token)),
    ]


def who_am_i(slug: str, token: str) -> Snippet:
    """For a key that may not talk to agents: what it may do."""
    code = f'curl {resolve.tenant_url(slug)}/api/v1/me \\\n  -H "Authorization: Bearer {token}"'
    return Snippet("curl", "curl", "", code)


def origin_for_programs(slug: str) -> str:
    """Where programs reach `/v1` of the workspace. On one's own machine the platform's host, which goes by the key:
    browsers and curl find `<slug>.localhost`, other programs may not."""
    return resolve.platform_url() if settings.BASE_DOMAIN == "localhost" else resolve.tenant_url(slug)


def _curl(origin: str, agent: str, token: str) -> str:
    body = json.dumps({"model": agent, "messages": [{"role": "user", "content": "Hello"}]})
    return (
        f'curl {origin}/v1/chat/completions \\\n  -H "Authorization: Bearer {token}" \\\n'
        f"  -H \"Content-Type: application/json\" \\\n  -d '{body}'"
    )


def _python(origin: str, agent: str, token: str) -> str:
    return f"""from openai import OpenAI

client = OpenAI(base_url="{origin}/v1", api_key="{token}")
stream = client.chat.completions.create(
    model="{agent}",
    messages=[{{"role": "user", "content": "Hello"}}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()"""


def _node(origin: str, agent: str, token: str) -> str:
    return f"""import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{origin}/v1", apiKey: "{token}" }});
const stream = await client.chat.completions.create({{
  model: "{agent}",
  messages: [{{ role: "user", content: "Hello" }}],
  stream: true,
}});
for await (const chunk of stream) {{
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}}
console.log();"""


def _websocket(slug: str, agent: str, token: str) -> str:
    url = resolve.tenant_url(slug).replace("http", "ws", 1)
    port = urlsplit(url).port or 80
    # Python may not find names below localhost.
    where = f',\n        host="127.0.0.1", port={port}' if settings.BASE_DOMAIN == "localhost" else ""
    return f"""import asyncio, json, websockets


async def main():
    headers = {{"Authorization": "Bearer {token}"}}
    async with websockets.connect(
        "{url}/ws/chat/", additional_headers=headers{where}
    ) as socket:
        await socket.send(json.dumps({{"type": "turn.start", "ref": "1", "agent": "{agent}", "message": "Hello"}}))
        async for frame in socket:
            event = json.loads(frame)
            if event["type"] == "text.delta":
                print(event["data"]["text"], end="", flush=True)
            elif event["type"] in ("run.completed", "run.failed", "run.cancelled", "error"):
                break
    print()


asyncio.run(main())"""
