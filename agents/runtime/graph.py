"""An agent with tools, as LangChain's `create_agent`; its tokens bypass the graph.

The chat model hands every delta straight to this room's `emit` (design: no token passes through LangGraph,
which costs 0.4 ms each), and the graph is driven by `ainvoke`. What it returns is only used to see how it ended. Tools
are offered by their schemas and carried out by agents/tools/toolbox.py; LangChain runs the calls of one answer side by
side and sends the model what came of them.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call

from agents.runtime.aside import Aside
from agents.runtime.events import SOURCE_CITED, TOOL_FINISHED, TOOL_STARTED
from agents.runtime.limits import Tally, in_time
from agents.runtime.spec import Emit, ModelCall, Transcript, Turn
from agents.runtime.structured import Shown, again, misfit, not_in_schema, recorded
from agents.runtime.trace import Step, Steps, Trace, said
from agents.tools.gate import AwaitsApproval
from agents.tools.toolbox import Toolbox
from core.errors import PaasError
from llm.chat_model import WireChatModel, openai_messages
from llm.deltas import Delta, Finish, TextDelta, ToolCallDelta, UsageReport
from llm.registry import ChatClient
from llm.tokens import estimate_messages

UNREADABLE = "__unreadable__"  # in the place of arguments that are no JSON object: what the model wrote
MOST_DEPTH = 32


async def run_graph(
    client: ChatClient, model: str, turn: Turn, transcript: Transcript, emit: Emit, toolbox: Toolbox
) -> None:
    """As `engine.run`, with tools: asks, calls tools, asks again, until there is an answer.

    A call of one of the caller's own tools is handed out and ends the turn; what the model asked of the agent's tools
    in the same breath is not run: it asks again when it goes on. Raises also too_many_steps, too_many_tool_calls,
    run_too_long, what `toolbox.extend` raises, and AwaitsApproval once every other call of an answer has ended.
    """
    steps = transcript.steps or Trace().at("")
    aside = Aside(client, model, turn, transcript, toolbox, steps)
    toolbox = replace(toolbox, context=replace(toolbox.context, beside=aside))
    loop = _Loop(turn, transcript, emit, toolbox, steps)
    transcript.hands_out = bool(turn.client_tools)
    chat_model = WireChatModel(
        client=client,
        model=model,
        max_tokens=turn.max_output_tokens,
        parameters=turn.parameters,
        on_deltas=loop.absorb,
    )
    agent = create_agent(chat_model, [*toolbox.offers, *turn.client_tools], middleware=[loop])
    async with in_time(toolbox.limits, 0 if steps.path else steps.trace.spent_ms):
        await agent.ainvoke({"messages": turn.messages}, {"recursion_limit": 12 * (toolbox.limits.steps + 1)})
    loop.shown.release()
    if transcript.finish_reason == "tool_calls" and not transcript.calls:
        transcript.finish_reason = "stop"
    transcript.finish(emit)


class _Loop(AgentMiddleware):  # type: ignore[misc]
    """What happens between the calls of the model: limits, books, events, and the tools."""

    def __init__(self, turn: Turn, transcript: Transcript, emit: Emit, toolbox: Toolbox, steps: Steps) -> None:
        super().__init__()
        self._steps = steps
        self._step: Step | None = None  # of the model's call that was made last
        self._replayed = False  # and it was made before the run waited
        self._turn = turn
        self._transcript = transcript
        self._emit = emit
        self._toolbox = toolbox
        self._handed = {tool["function"]["name"] for tool in turn.client_tools}
        self._open: set[int] = set()
        self._broken = False  # the next text begins a paragraph
        self._tally = toolbox.tally or Tally(toolbox.limits)
        self._asking = ModelCall(0)  # the one that is being made
        self.shown = Shown(turn, transcript, emit)
        self._no_answer = ""  # why what was said last is no part of the answer
        self._again = False  # a second answer was asked for
        self._running = 0  # calls of the last answer that have neither ended nor wait for a person
        self._settled = asyncio.Event()

    # --- the model --------------------------------------------------------------------------------------------
    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        """One call of the model, for as much as is left to write."""
        turn = self._turn
        self._tally.step()
        self._step = step = self._steps.model(request.model.model, len(request.messages))
        self._replayed = step.done
        if step.done:
            return _answer(step)
        messages = openai_messages([request.system_message] if request.system_message else [])
        messages += openai_messages(request.messages)
        estimate = estimate_messages(messages, (*self._toolbox.offers, *turn.client_tools))
        self._asking = call = ModelCall(estimate, step=step)
        try:
            granted = await self._toolbox.extend(call, turn.max_output_tokens)
            if self._no_answer:
                self.shown.discard(self._no_answer)
                self._no_answer = ""
            self._transcript.model_calls.append(call)
            self._open.clear()
            self._broken = bool(self._transcript.text)
            return await handler(request.override(model_settings=request.model_settings | {"max_tokens": granted}))
        except PaasError as error:
            self._steps.end(step, error.code, ok=False)
            raise
        finally:
            call.ended = True

    def absorb(self, batch: Sequence[Delta]) -> None:
        """Book a batch of deltas, and put into the transcript all but usage and calls of the agent's tools."""
        call = self._asking
        shown: list[Delta] = []
        for delta in batch:
            if isinstance(delta, UsageReport):
                call.report = delta
                continue
            if isinstance(delta, ToolCallDelta):
                call.deltas += 1
                if delta.name in self._handed:
                    self._open.add(delta.index)
                if delta.index not in self._open:
                    self._transcript.deltas += 1
                    continue
            elif not isinstance(delta, Finish):
                call.deltas += 1
                if self._broken and isinstance(delta, TextDelta) and delta.text:
                    self._broken = False
                    shown.append(TextDelta("\n\n" + delta.text))
                    continue
            shown.append(delta)
        if shown:
            self._transcript.absorb(shown, self.shown.emit)

    @hook_config(can_jump_to=["end", "model"])  # type: ignore[untyped-decorator]
    async def aafter_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """End where a call is the caller's. Otherwise every call gets an id and arguments that can be sent back."""
        message = state["messages"][-1]
        if not isinstance(message, AIMessage) or not (message.tool_calls or message.invalid_tool_calls):
            self._answered(message, [])
            return self._checked()
        asked = [*message.tool_calls, *message.invalid_tool_calls]
        if any(call["name"] in self._handed for call in asked):
            self._answered(message, message.tool_calls)
            return {"jump_to": "end"}
        self._no_answer = "The agent went on to use its tools." if self._turn.output_schema else ""
        if self._step is not None and not self._step.done:
            self._asking.tool_calls = len(asked)
        self._tally.tools(len(asked))
        used: set[str] = set()
        calls = []
        for call in asked:
            call_id = call["id"] if call["id"] and call["id"] not in used else f"call_{uuid.uuid4().hex[:24]}"
            used.add(call_id)
            calls.append(tool_call(name=_clean(call["name"] or ""), args=_readable(call["args"]), id=_clean(call_id)))
        self._answered(message, calls)
        self._running = len(calls)
        self._settled.clear()
        return {"messages": [message.model_copy(update={"tool_calls": calls, "invalid_tool_calls": []})]}

    def _answered(self, message: AIMessage, calls: list[Any]) -> None:
        """Write down what the model has said, with the calls as they are carried out."""
        if self._step is None or self._step.done:
            return
        thought = message.additional_kwargs.get("reasoning_content", "")
        self._steps.end(
            self._step, said(_clean(str(message.text)), _clean(thought), self._transcript.finish_reason, calls)
        )

    def _checked(self) -> dict[str, Any] | None:
        """The end, for an answer that fits; otherwise it is asked for once more (agents/runtime/structured.py)."""
        answer = recorded(self._step) if self._step is not None and self._replayed else self._transcript
        problem = misfit(answer, self._turn) if self._turn.output_schema else None
        if problem is None:
            return None
        no_more = self._steps.answers >= self._toolbox.limits.steps
        if self._again or no_more or self._turn.output_mode == "once":
            raise not_in_schema(problem)
        self._no_answer, self._again = problem, True
        return {"messages": [HumanMessage(again(problem)["content"])], "jump_to": "model"}

    # --- the tools --------------------------------------------------------------------------------------------
    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        """One call of a tool, with its events. What it says goes to the model, also that it has failed."""
        asked = request.tool_call
        arguments = None if UNREADABLE in asked["args"] else asked["args"]
        spec = self._toolbox.named(asked["name"])
        step = self._steps.tool(asked["id"], asked["name"], arguments, spec.effect if spec else "")
        try:
            if not step.done:
                await self._call(step, asked)
        except AwaitsApproval:
            self._leave()
            await self._settled.wait()  # what the others do is not lost
            raise
        self._leave()
        status = "success" if step.ok else "error"
        return ToolMessage(step.output, name=asked["name"], tool_call_id=asked["id"], status=status)

    def _leave(self) -> None:
        self._running -= 1
        if self._running <= 0:
            self._settled.set()

    async def _call(self, step: Step, asked: Any) -> None:
        about = ({"effect": step.effect} if step.effect else {}) | ({"path": step.path} if step.path else {})
        call = {"call_id": asked["id"], "name": asked["name"]}
        if not step.again:
            self._emit([(TOOL_STARTED, call | {"arguments": asked["args"]} | about)])
        begun = time.perf_counter()
        result = await self._toolbox.call(step)
        self._steps.end(step, result.text, ok=not result.is_error)
        told = {"result": None, "error": result.text} if result.is_error else {"result": result.text, "error": None}
        spent = {"ok": not result.is_error, "duration_ms": round((time.perf_counter() - begun) * 1000)}
        self._emit([(TOOL_FINISHED, call | told | spent | about | ({"tainted": True} if step.tainted else {}))])
        where = {"call_id": asked["id"]} | ({"path": step.path} if step.path else {})
        if result.sources:
            self._emit([(SOURCE_CITED, one | where) for one in result.sources])


def _answer(step: Step) -> AIMessage:
    """What the model has said in a step of before the run waited. Raises what it had failed with."""
    if not step.ok:
        raise PaasError(step.output)
    calls = [tool_call(name=one["name"], args=one["args"], id=one["id"]) for one in step.output["tool_calls"]]
    thought = step.output["reasoning"]
    return AIMessage(
        step.output["text"], tool_calls=calls, additional_kwargs={"reasoning_content": thought} if thought else {}
    )


def _clean(text: str) -> str:
    """Text as it can be stored: without NUL and half characters."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _clean_json(value: Any, depth: int = 0) -> Any:
    """Arguments as they can be stored and sent back. Raises ValueError for what is nested too deeply."""
    if depth > MOST_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict):
        return {_clean(str(key)): _clean_json(item, depth + 1) for key, item in value.items()}
    return [_clean_json(item, depth + 1) for item in value] if isinstance(value, list) else value


def _readable(given: Any) -> dict[str, Any]:
    """The arguments of a call, or what the model wrote in their place."""
    try:
        found = _clean_json(given) if isinstance(given, dict) else None
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {UNREADABLE: _clean(str(given)[:500])}
