"""Runs one turn of an agent: asks the model, turns its deltas into run events, keeps the transcript.

No ORM, no request, no socket: values in, events out. An agent without tools asks the model directly;
one with tools runs as LangChain's graph (agents/runtime/graph.py), whose tokens come here all the same.
Skipping the graph pays: it costs 1.6 ms a run and 100 MB in every process (docs/adr/0005).
"""

from __future__ import annotations

from agents.runtime.spec import Emit, Transcript, Turn
from agents.runtime.structured import run_structured
from agents.runtime.trace import said
from agents.tools.toolbox import Toolbox
from core.errors import PaasError
from llm.deltas import ModelRequest
from llm.registry import ChatClient


async def run(
    client: ChatClient, model: str, turn: Turn, transcript: Transcript, emit: Emit, toolbox: Toolbox | None = None
) -> None:
    """Run `turn` to its end, filling `transcript` and handing each batch of events to `emit`.

    toolbox: the agent's tools; with any, it runs as a graph. A turn whose answer is to fit a schema needs one too,
    for it may ask twice. What `transcript.steps` has recorded as ended is not asked or called again, and emits nothing.

    Raises PaasError provider_*; cancelling the task closes the vendor's connection. In both cases the
    transcript holds what had come.
    """
    if toolbox is not None and toolbox.tools:
        from agents.runtime.graph import run_graph  # LangChain takes seconds and 100 MB to import

        await run_graph(client, model, turn, transcript, emit, toolbox)
        return
    if toolbox is not None and turn.output_schema:
        await run_structured(client, model, turn, transcript, emit, toolbox.extend)
        return
    transcript.hands_out = bool(turn.client_tools)
    if (steps := transcript.steps) is None:
        await _ask(client, model, turn, transcript, emit)
        return
    step = steps.model(model, len(turn.messages))
    if step.done:  # and the transcript has it (Transcript.follow)
        if not step.ok:
            raise PaasError(step.output)
        return
    try:
        await _ask(client, model, turn, transcript, emit)
    except PaasError as error:
        steps.end(step, error.code, ok=False)
        raise
    steps.end(step, said(transcript.content, "".join(transcript.reasoning), transcript.finish_reason))


async def _ask(client: ChatClient, model: str, turn: Turn, transcript: Transcript, emit: Emit) -> None:
    request = ModelRequest(
        model=model,
        messages=turn.messages,
        max_tokens=turn.max_output_tokens,
        parameters=turn.parameters,
        tools=list(turn.client_tools) or None,
    )
    if turn.stream:
        stream = client.stream(request)
        try:
            async for batch in stream:
                transcript.absorb(batch, emit)
        finally:
            await stream.aclose()
    else:
        transcript.absorb(await client.complete(request), emit)
    transcript.finish(emit)
