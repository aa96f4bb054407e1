"""A model and those that are asked in its place while it cannot answer.

What was emitted is never asked again: another model is asked only before the first byte of a run's first answer, and
whoever has begun to answer stays the run's model, for all its calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from agents.runtime.spans import model_call
from agents.runtime.spec import Choice
from core.errors import PaasError
from llm.breaker import guarded
from llm.deltas import Delta, ModelRequest
from llm.features import JSON, JSON_SCHEMA
from llm.registry import client_for

# Faults that another vendor does not have.
PASSING = frozenset({
    "provider_unavailable", "provider_rate_limited", "provider_timeout", "model_starting", "provider_stream_cut",
})  # fmt: skip
# Vendors whose models think by themselves, and are told not to by `thinking`; others may refuse the word.
THINK_BY_THEMSELVES = frozenset({"zhipu"})
BRIEFLY = {"thinking": "disabled"}  # parameters of a short call that is only worth making without thoughts
FORMS = {"json_object": JSON, "json_schema": JSON_SCHEMA}
OnChange = Callable[[Choice, PaasError], Awaitable[None]]


class Chain:
    """A ChatClient over choices, in their order. on_change: called before another one is asked, with what was wrong;
    what it raises ends the call. When none answers, the first one's error is raised."""

    def __init__(self, choices: Sequence[Choice], on_change: OnChange) -> None:
        self._choices = choices
        self._at = 0
        self._fixed = False
        self._on_change = on_change
        self._first_error: PaasError | None = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """As ChatClient.stream."""
        while True:
            choice = self._choices[self._at]
            asked = _asked(request, choice)
            span = model_call(choice, asked, stream=True)
            try:
                with guarded(choice.provider, choice.model) as call:
                    client = client_for(choice.provider)
                    async with aclosing(client.stream(asked)) as batches:
                        async for batch in batches:
                            self._fixed = True
                            call.begun()
                            span.heard(batch)
                            yield batch
                return
            except PaasError as error:
                failure = error
                span.end(error)
            finally:
                span.end()
            await self._next(failure)

    async def complete(self, request: ModelRequest) -> list[Delta]:
        """As ChatClient.complete."""
        while True:
            choice = self._choices[self._at]
            asked = _asked(request, choice)
            span = model_call(choice, asked, stream=False)
            try:
                with guarded(choice.provider, choice.model) as call:
                    deltas = await client_for(choice.provider).complete(asked)
                    call.begun()
                self._fixed = True
                span.heard(deltas)
                return deltas
            except PaasError as error:
                failure = error
                span.end(error)
            finally:
                span.end()
            await self._next(failure)

    async def _next(self, error: PaasError) -> None:
        """Go on to the next choice; raises where there is none, or where it would be a second answer."""
        self._first_error = self._first_error or error
        if self._fixed:
            raise error
        if self._at + 1 == len(self._choices) or (self._at == 0 and error.code not in PASSING):
            raise self._first_error
        self._at += 1
        await self._on_change(self._choices[self._at], error)


def _asked(request: ModelRequest, choice: Choice) -> ModelRequest:
    """The request for another model, which may say less."""
    parameters = dict(request.parameters)
    form = parameters.get("response_format")
    if form is not None and FORMS[form["type"]] not in choice.info.features:
        # The caller's own is asked of nobody who does not know it; this is the agent's, and it is in the instructions.
        del parameters["response_format"]
        request = replace(request, parameters=parameters)
    if request.parameters is BRIEFLY and choice.provider.kind not in THINK_BY_THEMSELVES:
        request = replace(request, parameters={})
    if request.model == choice.model:
        return request
    limits = [limit for limit in (request.max_tokens, choice.info.max_output_tokens) if limit]
    return replace(request, model=choice.model, max_tokens=min(limits, default=None))
