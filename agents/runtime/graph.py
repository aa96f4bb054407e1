"""An agent with tools, as LangChain's `create_agent`; its tokens bypass the graph.

The chat model hands every delta straight to this room's `emit` (design: no token passes through LangGraph,
which costs 0.4 ms each), and the graph is driven by `ainvoke`. What it returns is only used to see how it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware, ToolCallLimitMiddleware, hook_config

from agents.runtime.events import TOOL_FINISHED, TOOL_STARTED
from agents.runtime.spec import Emit, Transcript, Turn
from llm.chat_model import WireChatModel
from llm.deltas import Delta, Finish, ToolCallDelta, UsageReport
from llm.registry import ChatClient

# An agent that goes round in circles ends here (P56).
MOST_MODEL_CALLS = 25
MOST_TOOL_CALLS = 20


async def run_graph(client: ChatClient, model: str, turn: Turn, transcript: Transcript, emit: Emit) -> None:
    """As `engine.run`, with `turn.tools`: asks, calls tools, asks again, until there is an answer.

    The transcript's usage is the sum over all calls; a call whose vendor does not report makes the whole
    run counted by us. A call of one of the caller's own tools is handed out and ends the turn; what the model
    asked of the agent's tools in the same breath is not run: it asks again when it goes on.
    """
    totals = _Totals()
    handed = _Handed(turn.client_tools)
    transcript.hands_out = bool(turn.client_tools)

    def on_deltas(batch: Sequence[Delta]) -> None:
        totals.add(batch)
        transcript.absorb([delta for delta in batch if handed.shows(delta)], emit)

    chat_model = WireChatModel(
        client=client,
        model=model,
        max_tokens=turn.max_output_tokens,
        parameters=turn.parameters,
        on_deltas=on_deltas,
    )
    limits = [
        ModelCallLimitMiddleware(run_limit=MOST_MODEL_CALLS),
        ToolCallLimitMiddleware(run_limit=MOST_TOOL_CALLS),
    ]
    tools = [*turn.tools, *turn.client_tools]
    agent = create_agent(chat_model, tools, middleware=[handed, _ToolEvents(emit), *limits])
    try:
        await agent.ainvoke({"messages": turn.messages}, {"recursion_limit": 12 * MOST_MODEL_CALLS})
    finally:
        totals.settle(transcript)
    if transcript.finish_reason == "tool_calls" and not transcript.calls:
        transcript.finish_reason = "stop"
    transcript.finish(emit)


class _Totals:
    """Adds the usage of the run's calls up."""

    def __init__(self) -> None:
        self._calls = 0
        self._reports: list[UsageReport] = []

    def add(self, batch: Sequence[Delta]) -> None:
        """Note the end of a call, and what its vendor reported."""
        self._calls += sum(isinstance(delta, Finish) for delta in batch)
        self._reports += [delta for delta in batch if isinstance(delta, UsageReport)]

    def settle(self, transcript: Transcript) -> None:
        """Put the sums into the transcript, when every call was reported."""
        if self._reports and len(self._reports) >= self._calls:
            totals = [sum(column) for column in zip(*self._reports, strict=True)]
            transcript.input_tokens, transcript.output_tokens = totals[0], totals[1]
            transcript.cached_tokens, transcript.reasoning_tokens = totals[2], totals[3]


class _Handed(AgentMiddleware):  # type: ignore[misc]
    """Knows which calls are of the caller's own tools; the graph ends with the first of them."""

    def __init__(self, client_tools: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        self._names = {tool["function"]["name"] for tool in client_tools}
        self._open: set[int] = set()

    def shows(self, delta: Delta) -> bool:
        """Whether a delta is the transcript's: all but usage, which is summed up, and calls of the agent's tools."""
        if isinstance(delta, Finish):
            self._open.clear()
        if not isinstance(delta, ToolCallDelta):
            return not isinstance(delta, UsageReport)
        if delta.name in self._names:
            self._open.add(delta.index)
        return delta.index in self._open

    @hook_config(can_jump_to=["end"])  # type: ignore[untyped-decorator]
    async def aafter_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """End where a call is the caller's."""
        calls = getattr(state["messages"][-1], "tool_calls", [])
        return {"jump_to": "end"} if any(call["name"] in self._names for call in calls) else None


class _ToolEvents(AgentMiddleware):  # type: ignore[misc]
    """Tells the run's log when a tool starts and ends."""

    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit = emit

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        call = {"call_id": request.tool_call["id"], "name": request.tool_call["name"]}
        self._emit([(TOOL_STARTED, call | {"arguments": request.tool_call["args"]})])
        try:
            answer = await handler(request)
        except Exception as error:
            self._emit([(TOOL_FINISHED, call | {"result": None, "error": str(error)})])
            raise
        failed = getattr(answer, "status", "success") == "error"
        text = str(getattr(answer, "content", ""))
        self._emit([(TOOL_FINISHED, call | {"result": None if failed else text, "error": text if failed else None})])
        return answer
