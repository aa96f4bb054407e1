"""A run, its calls of models and of tools as spans, named as OpenTelemetry's conventions for generative AI name them.

The conventions (github.com/open-telemetry/semantic-conventions-genai) are in development: what is here follows them as
of 2026. What was said is told only where core.tracing captures content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from agents.runtime.spec import Choice, Turn
from agents.runtime.trace import Step
from core import tracing
from core.tracing import Span
from llm.deltas import Delta, Finish, ModelRequest, TextDelta, UsageReport

# Kinds of ours that the conventions call something else.
PROVIDERS = {"moonshot": "moonshot_ai", "qwen": "alibaba_cloud", "zhipu": "zhipu_ai"}


def provider_of(kind: str) -> str:
    """`gen_ai.provider.name` of a kind of account."""
    return PROVIDERS.get(kind, kind)


def agent_run(slug: str, values: dict[str, Any], turn: Turn) -> Span:
    """The span of a whole run; who begins it ends it. values: what else is known of it, by the attributes' names."""
    if not tracing.enabled():
        return tracing.NOTHING
    told = {"gen_ai.operation.name": "invoke_agent", "gen_ai.input.messages": messages_of(turn.messages)}
    return tracing.span(f"invoke_agent {slug}", told | values)


def member_run(slug: str, path: str) -> Span:
    """The span of a member's part in a team. path: where in the team."""
    told = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": slug, "paas.agent.path": path}
    return tracing.child(f"invoke_agent {slug}", told)


def tool_call(step: Step, effect: str) -> Span:
    """The span of a call of a tool."""
    if not tracing.enabled():
        return tracing.NOTHING
    told = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": step.name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": step.call_id,
        "gen_ai.tool.call.arguments": tracing.content(step.input),
        "paas.tool.effect": effect,
    }
    return tracing.child(f"execute_tool {step.name}", told)


class ModelSpan:
    """The span of one call of a model. It is not the parent of anything: what is read between its pieces is others'."""

    __slots__ = ("_said", "_span", "_usage")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._usage: UsageReport | None = None
        self._said: list[str] = []

    def heard(self, batch: Sequence[Delta]) -> None:
        """What the model said. Cheap: it is called at every read from the network."""
        if self._span is tracing.NOTHING:
            return
        for delta in batch:
            if type(delta) is TextDelta:
                if tracing.captures_content():
                    self._said.append(delta.text)
            elif type(delta) is UsageReport:
                self._usage = delta
            elif type(delta) is Finish:
                self._span.set({"gen_ai.response.finish_reasons": [delta.reason]})

    def end(self, error: BaseException | None = None) -> None:
        """It has ended; twice is once."""
        span, self._span = self._span, tracing.NOTHING
        if span is tracing.NOTHING:
            return
        if self._usage is not None:
            span.set(usage_values(*self._usage))
        if self._said:
            span.set({"gen_ai.output.messages": answer_of("".join(self._said))})
        if error is not None:
            span.failed(tracing.name_of(error))
        span.end()


def model_call(choice: Choice, request: ModelRequest, *, stream: bool) -> ModelSpan:
    """The span of a call of a model."""
    if not tracing.enabled():
        return ModelSpan(tracing.NOTHING)
    parameters = request.parameters
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider_of(choice.provider.kind),
        "gen_ai.request.model": request.model,
        "gen_ai.response.model": request.model,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": parameters.get("temperature"),
        "gen_ai.request.top_p": parameters.get("top_p"),
        "gen_ai.request.stream": stream,
        "gen_ai.input.messages": messages_of(request.messages),
    }
    return ModelSpan(tracing.child(f"chat {request.model}", told, "client"))


def usage_values(tokens_in: int, tokens_out: int, cached: int, reasoning: int) -> dict[str, Any]:
    """Tokens as attributes."""
    return {
        "gen_ai.usage.input_tokens": tokens_in,
        "gen_ai.usage.output_tokens": tokens_out,
        "gen_ai.usage.cache_read.input_tokens": cached or None,
        "gen_ai.usage.reasoning.output_tokens": reasoning or None,
    }


def messages_of(messages: Iterable[dict[str, Any]]) -> str | None:
    """Messages in OpenAI's shape as the conventions have them; None unless content is captured."""
    if not tracing.captures_content():
        return None
    return tracing.content([
        {"role": one.get("role", ""), "parts": [{"type": "text", "content": one.get("content")}]} for one in messages
    ])  # fmt: skip


def answer_of(text: str) -> str | None:
    """What a model said, as the conventions have it; None unless content is captured."""
    return tracing.content([{"role": "assistant", "parts": [{"type": "text", "content": text}]}])
