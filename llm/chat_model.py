"""LangChain's face over a ChatClient, for create_agent and everything else that wants a BaseChatModel.

The only module of this room that imports LangChain (3.5 s and over 100 MB): import it when an agent first
needs it, not at start.

Every batch of deltas goes to `on_deltas` before LangChain sees any of it, also for a plain `ainvoke`: the
vendor is always asked for a stream, so an agent driven by `ainvoke` still shows each token when it comes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import orjson
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ToolMessage,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from llm.answer import Answer
from llm.deltas import Delta, Finish, ModelRequest, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport
from llm.tokens import estimate_tokens

OnDeltas = Callable[[list[Delta]], None]

# What LangChain passes along for itself and a vendor must not see.
_INTERNAL = frozenset({"stream", "stream_usage", "tools"})


class WireChatModel(BaseChatModel):
    """A chat model over `client` (llm.registry.ChatClient). Async only; errors are core.errors.PaasError.

    on_deltas: called with each batch as it arrives, before LangChain; it must not block. parameters: sent
    with every call (temperature, thinking ...); a call's own keyword arguments win.
    """

    client: Any = Field(exclude=True, repr=False)
    model: str
    max_tokens: int | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    on_deltas: OnDeltas | None = Field(default=None, exclude=True, repr=False)
    cache: Any = Field(default=False, exclude=True)  # LangChain's cache is global: it would mix tenants

    @property
    def _llm_type(self) -> str:
        return "agent-paas-wire"

    def bind_tools(
        self,
        tools: Sequence[Any],
        *,
        tool_choice: str | bool | Mapping[str, Any] | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with these tools on offer.

        `tool_choice` as in OpenAI's API, or "any" / True (some tool must be called), or a tool's name.
        """
        offered = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        if (choice := _tool_choice(tool_choice)) is not None:
            kwargs["tool_choice"] = choice
        return self.bind(tools=offered, **kwargs)

    def get_num_tokens(self, text: str) -> int:
        """An estimate (llm.tokens); LangChain's own would fetch a tokenizer from the network."""
        return estimate_tokens(text)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = Answer()
        async with aclosing(self._batches(messages, stop, kwargs)) as batches:
            async for deltas in batches:
                answer.add(deltas)
        return ChatResult(generations=[ChatGeneration(message=_message(answer, self.model))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        usage: UsageReport | None = None
        async with aclosing(self._batches(messages, stop, kwargs)) as batches:
            async for deltas in batches:
                for delta in deltas:
                    if isinstance(delta, UsageReport):
                        usage = delta  # once, at the end: LangChain adds up what chunks report
                        continue
                    chunk = ChatGenerationChunk(message=_chunk(delta, self.model))
                    if run_manager and chunk.text:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        last = AIMessageChunk(content="", usage_metadata=_usage(usage), chunk_position="last")
        yield ChatGenerationChunk(message=last)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("This model is async only: call ainvoke or astream.")

    async def _batches(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> AsyncGenerator[list[Delta], None]:
        parameters = dict(self.parameters)
        parameters |= {name: value for name, value in kwargs.items() if name not in _INTERNAL and name[:3] != "ls_"}
        if stop:
            parameters["stop"] = stop
        request = ModelRequest(
            self.model,
            openai_messages(messages),
            parameters.pop("max_tokens", self.max_tokens),
            parameters,
            kwargs.get("tools"),
        )
        async with aclosing(self.client.stream(request)) as batches:
            async for deltas in batches:
                if self.on_deltas is not None:
                    self.on_deltas(deltas)
                yield deltas


def openai_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """LangChain's messages in OpenAI's shape.

    Reasoning goes back to the vendor only beside tool calls: there DeepSeek and GLM need it to go on
    thinking, elsewhere vendors ignore or refuse it.
    """
    return [_openai_message(message) for message in messages]


def _openai_message(message: BaseMessage) -> dict[str, Any]:
    roles = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}
    if not isinstance(message.content, str) or message.type not in roles:
        converted: dict[str, Any] = convert_to_openai_messages(
            message
        )  # content blocks, rare kinds: not worth the speed
        return converted
    plain: dict[str, Any] = {"role": roles[message.type], "content": message.content}
    if isinstance(message, ToolMessage):
        plain["tool_call_id"] = message.tool_call_id
    elif isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
        plain["content"] = message.content or None
        plain["tool_calls"] = _openai_calls(message)
        if thought := message.additional_kwargs.get("reasoning_content"):
            plain["reasoning_content"] = thought
    return plain


def _openai_calls(message: AIMessage) -> list[dict[str, Any]]:
    calls = [(call["id"], call["name"], orjson.dumps(call["args"]).decode()) for call in message.tool_calls]
    calls += [(call["id"], call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls]
    return [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in calls
    ]


def _message(answer: Answer, model: str) -> AIMessage:
    calls, invalid = [], []
    for call in answer.tool_calls:
        try:
            arguments = orjson.loads(call.arguments or "{}")
            if not isinstance(arguments, dict):
                raise ValueError("not an object")
            calls.append(tool_call(name=call.name, args=arguments, id=call.id))
        except ValueError as error:
            invalid.append(invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=str(error)))
    return AIMessage(
        content=answer.text,
        additional_kwargs={"reasoning_content": answer.reasoning} if answer.reasoning else {},
        response_metadata={"finish_reason": answer.finish_reason, "model_name": model},
        tool_calls=calls,
        invalid_tool_calls=invalid,
        usage_metadata=_usage(answer.usage),
    )


def _chunk(delta: Delta, model: str) -> AIMessageChunk:
    if isinstance(delta, TextDelta):
        return AIMessageChunk(content=delta.text)
    if isinstance(delta, ReasoningDelta):
        return AIMessageChunk(content="", additional_kwargs={"reasoning_content": delta.text})
    if isinstance(delta, ToolCallDelta):
        chunk = tool_call_chunk(name=delta.name, args=delta.arguments, id=delta.id, index=delta.index)
        return AIMessageChunk(content="", tool_call_chunks=[chunk])
    reason = delta.reason if isinstance(delta, Finish) else None
    return AIMessageChunk(content="", response_metadata={"finish_reason": reason, "model_name": model})


def _usage(report: UsageReport | None) -> UsageMetadata | None:
    if report is None:
        return None
    return UsageMetadata(
        input_tokens=report.input_tokens,
        output_tokens=report.output_tokens,
        total_tokens=report.input_tokens + report.output_tokens,
        input_token_details={"cache_read": report.cached_tokens},
        output_token_details={"reasoning": report.reasoning_tokens},
    )


def _tool_choice(choice: str | bool | Mapping[str, Any] | None) -> str | Mapping[str, Any] | None:
    if choice is None or choice is False:
        return None
    if choice is True or choice == "any":
        return "required"
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        return {"type": "function", "function": {"name": choice}}
    return choice
