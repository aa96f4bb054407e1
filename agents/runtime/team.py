"""Runs a team: agents that work on one task together, in one of four modes.

sequential: each reads the task and what the ones before it said; the last one answers. parallel: all at once; a
combiner answers from their results, or they are joined. iterative: the list again and again, until a member says that
it is done. supervisor: the team's own model answers, and asks members as it asks tools.

Members' words are events of their own (`agent.delta`), but for those of whoever is known to give the answer. What
begins is ended, also when it fails or is stopped. Only agents with tools, and so supervisors, need LangChain.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from agents.runtime import engine, team_messages, trace
from agents.runtime.events import (
    AGENT_DELTA,
    AGENT_FINISHED,
    AGENT_STARTED,
    REASONING_DELTA,
    TEXT_DELTA,
    TEXT_DISCARDED,
    TOOL_DELTA,
    Event,
)
from agents.runtime.limits import Tally, in_time
from agents.runtime.spans import member_run
from agents.runtime.spec import AgentSpec, Choice, Emit, Member, ModelCall, TeamSpec, Transcript, Turn
from agents.runtime.team_messages import UNTIL_DONE, Messages, Said
from agents.runtime.trace import Step, Trace
from agents.tools.gate import AwaitsApproval
from agents.tools.spec import BoundTool, ToolContext, ToolResult, ToolSpec
from agents.tools.toolbox import Extend, Toolbox
from core.errors import PaasError
from llm.deltas import ModelRequest
from llm.registry import ChatClient
from llm.tokens import estimate_messages

STOPPED = "It was stopped."
TASK = {"type": "object", "properties": {"task": {"type": "string"}}, "required": ["task"]}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a team an agent works. path: "" is the whole team. speaks: its words are the run's answer. answers: they
    are, or may turn out to be. guidance: what it is told beside its own instructions. tally: what it has done."""

    tally: Tally
    path: str = ""
    speaks: bool = True
    answers: bool = True
    guidance: tuple[str, ...] = ()

    def below(self, name: str, *, speaks: bool, answers: bool = False) -> Place:
        """A member's place."""
        path = f"{self.path}/{name}" if self.path else name
        return replace(self, path=path, speaks=self.speaks and speaks, answers=self.answers and (speaks or answers))


@dataclass(slots=True)
class Speaker:
    """An agent whose own model is asked. choice: which one that is now. call: the one that is being made."""

    spec: AgentSpec
    place: Place
    turn: Turn
    choice: Choice
    call: ModelCall | None = None


class Backing(Protocol):
    """What a team needs of whoever runs it. trace: of the run; the steps that it has from before the run waited are not
    made again."""

    trace: Trace

    def client(self, speaker: Speaker) -> ChatClient:
        """Who answers for it. Where another model stands in, the speaker and its call are changed to that one."""
        ...

    def toolbox(self, speaker: Speaker, tools: tuple[BoundTool, ...], extend: Extend) -> Toolbox:
        """Its tools."""
        ...

    async def hold(self, call: ModelCall, wanted: int) -> int:
        """Write a call down that is about to be made; how much it may write. Raises PaasError where nothing is left."""
        ...


async def run_team(spec: AgentSpec, turn: Turn, transcript: Transcript, emit: Emit, backing: Backing) -> None:
    """As `engine.run`, for an agent that is a team: `transcript` gets its answer, and every call of every member.

    Raises what a member's model or tools raise, with the member named, and too_many_steps, too_many_tool_calls,
    run_too_long and run_token_limit for the members' limits and for the team's; AwaitsApproval.
    """
    messages = turn.messages[turn.instructions :]
    for said_before in (transcript.text, transcript.reasoning):
        said_before.clear()  # who said it, gives it back
    async with in_time(spec.limits, backing.trace.spent_ms):
        run = _TeamRun(turn, transcript, emit, backing, spec.instructions)
        said = await run.agent(spec, messages, Place(Tally(spec.limits)))
    transcript.finish_reason = said.reason


class _TeamRun:
    def __init__(self, turn: Turn, transcript: Transcript, emit: Emit, backing: Backing, told: str) -> None:
        """told: the team's instructions."""
        self._turn = turn
        self._told = told
        self._transcript = transcript
        self._emit = emit
        self._backing = backing

    async def agent(self, spec: AgentSpec, messages: Messages, place: Place) -> Said:
        """What an agent answers: with its own model, or as a team."""
        if spec.asks:
            return await self._asked(spec, messages, place)
        assert spec.team is not None
        place = replace(place, guidance=(*place.guidance, spec.instructions))
        modes = {"sequential": self._sequential, "parallel": self._parallel, "iterative": self._iterative}
        return await modes[spec.team.mode](spec.team, messages, place)

    # --- the modes ----------------------------------------------------------------------------
    async def _sequential(self, team: TeamSpec, messages: Messages, place: Place) -> Said:
        results: list[Said] = []
        for at, member in enumerate(team.members):
            there = place.below(f"{at}.{member.spec.slug}", speaks=member is team.members[-1])
            results.append(await self._member(member, messages, results, there))
        return results[-1]

    async def _parallel(self, team: TeamSpec, messages: Messages, place: Place) -> Said:
        """A member that fails is told of, and the others go on; when all do, the first one's error is raised. One that
        waits for a person lets the others come to their ends first."""
        errors: dict[int, PaasError] = {}
        waiting: list[AwaitsApproval] = []

        async def one(at: int, member: Member) -> Said:
            try:
                return await self._member(member, messages, (), place.below(f"{at}.{member.spec.slug}", speaks=False))
            except AwaitsApproval as wait:
                waiting.append(wait)
                return Said(member.spec.slug, "")
            except PaasError as error:
                errors[at] = error
                return Said(member.spec.slug, f"({error.message})", failed=True)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(at, member)) for at, member in enumerate(team.members)]
        if waiting:
            raise waiting[0]
        if len(errors) == len(tasks):
            raise errors[0]
        results = [task.result() for task in tasks]
        if team.combiner is None:
            return self._say(team_messages.joined(results), place)
        there = place.below(f"{len(tasks)}.{team.combiner.spec.slug}", speaks=True)
        return await self._member(team.combiner, messages, results, there)

    async def _iterative(self, team: TeamSpec, messages: Messages, place: Place) -> Said:
        """The answer is what the member said that was done, or the one before it, if it said no more than that."""
        results: list[Said] = []
        place = replace(place, guidance=(*place.guidance, UNTIL_DONE))
        for number in range(1, team.rounds + 1):
            for at, member in enumerate(team.members):
                there = place.below(f"r{number}.{at}.{member.spec.slug}", speaks=False, answers=True)
                said = await self._member(member, messages, results[-len(team.members) :], there)
                text, done = team_messages.finished(said.text)
                if text.strip():
                    results.append(said._replace(text=text))
                if done:
                    return self._say(results[-1].text if results else "", place)
        return self._say(results[-1].text if results else "", place, results[-1].reason if results else "stop")

    def _delegations(self, team: TeamSpec, place: Place) -> tuple[BoundTool, ...]:
        """The members as tools of their supervisor. They read the task that it gives them, and nothing else."""

        async def call(member: Member, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
            there = replace(place, guidance=()).below(f"{context.number}.{member.spec.slug}", speaks=False)
            said = await self._member(member, [{"role": "user", "content": arguments["task"]}], (), there)
            return ToolResult(said.text or team_messages.NOTHING)

        return tuple(
            BoundTool(
                ToolSpec(
                    name=delegation_name(member.spec.slug),
                    description=f"Have {member.spec.name} do a task, and read its answer. It knows nothing but the "
                    f"task you write. {member.role or member.spec.description}".strip(),
                    parameters=TASK,
                    effect="read",
                    call=partial(call, member),
                    delegates=True,
                )
            )
            for member in team.members
        )

    # --- a member -----------------------------------------------------------------------------
    async def _member(self, member: Member, messages: Messages, results: Sequence[Said], place: Place) -> Said:
        """What a member says to the messages and to what others have said. Its errors name it."""
        spec = member.spec
        steps = self._backing.trace.at(place.path.rpartition("/")[0])
        step = steps.agent(place.path, spec.slug, spec.name, task := team_messages.task_in(messages))
        if step.done:
            said = _recorded(step)
            self._transcript.text += [said.text] if place.speaks else []
            return said
        if not step.again:
            about = {"path": place.path, "slug": spec.slug, "name": spec.name, "task": task}
            self._emit([(AGENT_STARTED, about)])
        begun = time.perf_counter()
        end: dict[str, Any] = {"ok": False, "content": None, "error": STOPPED}
        role = (team_messages.PART.format(role=member.role),) if member.role else ()
        there = replace(place, guidance=(*place.guidance, *role), tally=Tally(spec.limits, place.tally))
        try:
            with member_run(spec.slug, place.path):
                async with in_time(spec.limits):
                    said = await self.agent(spec, team_messages.with_results(messages, results, spec), there)
            steps.end(step, {"text": said.text, "reason": said.reason})
            text = team_messages.finished(said.text)[0]
            end = {"ok": True, "content": None if place.speaks else team_messages.told(text), "error": None}
            return said._replace(name=spec.slug)
        except AwaitsApproval:
            end = {}  # it goes on later
            raise
        except PaasError as error:
            end["error"] = error.message
            told = f"{spec.slug}: {error.message}"
            steps.end(step, {"code": error.code, "message": told}, ok=False)
            raise PaasError(error.code, told, retry_after=error.retry_after, details=error.details) from error
        finally:
            if end:
                spent = round((time.perf_counter() - begun) * 1000)
                self._emit([(AGENT_FINISHED, {"path": place.path} | end | {"duration_ms": spent})])

    async def _asked(self, spec: AgentSpec, messages: Messages, place: Place) -> Said:
        """What an agent's own model says, with its tools, and its members where it is a supervisor."""
        whole = self._turn
        # What its caller's turn says beyond the team's own words: how the answer is to look.
        told = whole.messages[0]["content"].removeprefix(self._told).strip() if whole.instructions else ""
        guidance = (*place.guidance, told) if place.answers else place.guidance
        turn = team_messages.turn_of(spec, messages, guidance, whole, answers=place.answers)
        tools = spec.tools
        if spec.team is not None:
            tools += self._delegations(spec.team, place)
            if not place.path:  # the caller's tools are for the one who talks to the caller
                turn = replace(turn, client_tools=self._turn.client_tools)
        speaker, own, tell = Speaker(spec, place, turn, spec.choice), Transcript(), self._teller(place)
        own.follow(self._backing.trace.at(place.path), last_only=bool(turn.output_schema))
        if place.speaks:
            self._transcript.text += own.text
            self._transcript.reasoning += own.reasoning

        async def extend(call: ModelCall, wanted: int) -> int:
            call.choice, call.path, call.speaks = speaker.choice, place.path, place.speaks
            speaker.call = call
            if not tools:
                place.tally.step()
            call.granted = await self._backing.hold(call, place.tally.fitting(call, wanted))
            return call.granted

        client = self._backing.client(speaker)
        if tools or turn.output_schema:
            await engine.run(client, spec.model, turn, own, tell, self._backing.toolbox(speaker, tools, extend))
        else:
            await self._asked_once(client, speaker, own, tell, extend)
        return Said(spec.slug, own.content, own.finish_reason)

    async def _asked_once(
        self, client: ChatClient, speaker: Speaker, own: Transcript, tell: Emit, extend: Extend
    ) -> None:
        """As `engine.run` of an agent without tools, with its one call in the books."""
        turn, steps = speaker.turn, own.steps
        assert steps is not None
        step = steps.model(speaker.spec.model, len(turn.messages))
        if step.done:
            if not step.ok:
                raise PaasError(step.output)
            return
        call = ModelCall(estimate_messages(turn.messages), step=step)
        try:
            granted = await extend(call, turn.max_output_tokens)
            request = ModelRequest(speaker.spec.model, turn.messages, granted, turn.parameters)
            if turn.stream:
                async with aclosing(client.stream(request)) as batches:
                    async for batch in batches:
                        own.absorb(call.book(batch), tell)
            else:
                own.absorb(call.book(await client.complete(request)), tell)
            own.finish(tell)
        except PaasError as error:
            steps.end(step, error.code, ok=False)
            raise
        finally:
            call.ended = True
        steps.end(step, trace.said(own.content, "".join(own.reasoning), own.finish_reason))

    # --- what is told -------------------------------------------------------------------------
    def _teller(self, place: Place) -> Emit:
        """Takes an agent's events: a member's words become its own, but for who speaks, whose words are the answer."""
        transcript = self._transcript

        def tell(events: Sequence[Event]) -> None:
            found: list[Event] = []
            for kind, data in events:
                transcript.deltas += kind in (TEXT_DELTA, REASONING_DELTA, TOOL_DELTA)
                if kind == TEXT_DISCARDED and place.speaks:
                    transcript.text.clear()
                if kind not in (TEXT_DELTA, REASONING_DELTA):
                    found.append((kind, data))
                elif place.speaks:
                    (transcript.text if kind == TEXT_DELTA else transcript.reasoning).append(data["text"])
                    found.append((kind, data))
                else:
                    thought = {"reasoning": True} if kind == REASONING_DELTA else {}
                    found.append((AGENT_DELTA, {"path": place.path, "text": data["text"]} | thought))
            self._emit(found)

        return tell

    def _say(self, text: str, place: Place, reason: str = "stop") -> Said:
        """An answer that is known only now."""
        if place.speaks and text:
            self._transcript.text.append(text)
            self._emit([(TEXT_DELTA, {"text": text})])
        return Said("", text, reason)


def _recorded(step: Step) -> Said:
    """What a member said before the run waited. Raises what it had failed with."""
    if not step.ok:
        raise PaasError(step.output["code"], step.output["message"])
    return Said(step.name, step.output["text"], step.output["reason"])


def delegation_name(slug: str) -> str:
    """The tool with which a supervisor asks a member: tools' names have no dots."""
    return f"ask_{slug.replace('.', '_')}"
