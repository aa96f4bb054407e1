"""A conversation as a file that its owner keeps: all of it as JSON, or the shown branch as Markdown."""

from __future__ import annotations

import re
import uuid
from typing import Any

import orjson

from accounts.actors import Actor
from chat import selectors
from chat.models import Conversation
from core import clock

VERSION = 1


def conversation_json(actor: Actor, conversation_id: uuid.UUID) -> bytes:
    """Every branch, as the API shows messages; `path` are the ids of those that are shown. Raises not_found."""
    found = selectors.conversation_for(actor, conversation_id)
    tree = selectors.tree_of(found)
    messages = selectors.messages_of(found, tree.order)
    document = {
        "version": VERSION,
        "exported_at": clock.now().isoformat(),
        "conversation": selectors.conversation_view(found),
        "path": [str(one) for one in tree.path],
        "messages": [selectors.message_view(one, tree.siblings(one.id)) for one in messages],
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def conversation_markdown(actor: Actor, conversation_id: uuid.UUID, *, asked: str) -> bytes:
    """The shown branch. asked: what stands over the person's own messages. Raises not_found."""
    found = selectors.conversation_for(actor, conversation_id)
    views = [selectors.message_view(one) for one in selectors.messages_of(found)]
    parts = [_heading(found), *(_section(view, asked) for view in views)]
    return ("\n\n".join(parts) + "\n").encode()


def _heading(conversation: Conversation) -> str:
    title = " ".join(conversation.title.split())
    return f"# {title}\n\n{conversation.agent.name} · {conversation.created_at:%Y-%m-%d %H:%M} UTC"


def _section(view: dict[str, Any], asked: str) -> str:
    who = view["agent"]["name"] if view["agent"] else asked
    when = view["created_at"][:16].replace("T", " ")
    files = "".join(f"\n- {one['name']}" for one in view["files"])
    error = f"\n\n> {view['error']['message']}" if view["error"] else ""
    content = _demoted(view["content"]) or "—"
    return f"## {who} · {when}\n\n{content}" + (f"\n{files}" if files else "") + error


def _demoted(content: str) -> str:
    """Headings of an answer below those of the file, so that its sections stay those of the conversation."""
    lines, fenced = [], False
    for line in content.splitlines():
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        lines.append(f"##{line}" if not fenced and re.match(r"#{1,4} ", line) else line)
    return "\n".join(lines)
