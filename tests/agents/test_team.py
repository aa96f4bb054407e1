"""Teams in the engine: who is told what, what is said as whose words, and where it ends (scripted models, no database)."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from agents.runtime.events import Event
from agents.runtime.spec import AgentSpec, Member, ModelCall, TeamSpec, Transcript, Turn
from agents.runtime.team import Speaker, run_team
from agents.runtime.trace import Trace
from agents.tools.calculator import CALCULATOR
from agents.tools.spec import BoundTool, RunLimits, ToolContext
from agents.tools.toolbox import Extend, Toolbox
from core.errors import PaasError
from core.ids import uuid7
from llm.catalog import ModelInfo
from llm.deltas import Finish, ReasoningDelta, ToolCallDelta, UsageReport
from llm.providers.scripted import Script, ScriptedModel
from llm.registry import ChatClient, ProviderRef

GOLDEN = Path(__file__).parent / "golden"
PROVIDER = ProviderRef(id=uuid7(), kind="scripted")
INFO = ModelInfo(context_tokens=8000, max_output_tokens=500)
WIDE = RunLimits(steps=100, tool_calls=100)


def one(slug: str, **fields: Any) -> AgentSpec:
    ids = {"agent_id": uuid7(), "version_id": uuid7()}
    about: dict[str, Any] = {"description": f"Knows {slug}.", "instructions": f"You are {slug}.", "parameters": {}}
    asked: dict[str, Any] = {"provider": PROVIDER, "provider_name": "p", "model": slug, "info": INFO}
    return AgentSpec(slug=slug, name=slug.title(), **ids, **(about | asked | fields))


def team(mode: Any, *members: AgentSpec | Member, slug: str = "team", **fields: Any) -> AgentSpec:
    made = tuple(member if isinstance(member, Member) else Member(member) for member in members)
    about = {"rounds": fields.pop("rounds", 5), "combiner": fields.pop("combiner", None)}
    return one(slug, team=TeamSpec(mode, made, INFO, **about), **({"limits": WIDE} | fields))


@dataclass
class Backing:
    """Writes calls down, and lets each write as much as it wants."""

    trace: Trace = field(default_factory=Trace)
    calls: list[ModelCall] = field(default_factory=list)
    most_open: int = 0

    def client(self, speaker: Speaker) -> ChatClient:
        return ScriptedModel()

    def toolbox(self, speaker: Speaker, tools: tuple[BoundTool, ...], extend: Extend) -> Toolbox:
        context: Any = ToolContext(None, None, uuid7(), speaker.spec.slug)  # type: ignore[arg-type]
        return Toolbox(tools, context, speaker.spec.limits, extend, tally=speaker.place.tally)

    async def hold(self, call: ModelCall, wanted: int) -> int:
        self.calls.append(call)
        self.most_open = max(self.most_open, sum(not one.ended for one in self.calls))
        return wanted


@dataclass
class Ran:
    """A team's run. asked: the scripts, with what they were asked."""

    asked: list[Script]
    transcript: Transcript = field(default_factory=Transcript)
    events: list[Event] = field(default_factory=list)
    backing: Backing = field(default_factory=Backing)
    error: PaasError | None = None

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def of(self, kind: str, name: str) -> list[Any]:
        return [data.get(name) for told, data in self.events if told == kind]

    def last(self, number: int) -> str:
        """What the last message said that the model of a script was asked."""
        request = self.asked[number].request
        assert request is not None
        return str(request.messages[-1]["content"])

    def system(self, number: int) -> str:
        request = self.asked[number].request
        assert request is not None
        return str(request.messages[0]["content"])

    def shown(self, *, by_member: bool = False) -> str:
        """An event a line. by_member: those who are asked at once begin in either order, so that what is told of them
        stands one member after the other, without the numbers that say who was first."""
        events = self.events
        if by_member:
            events = [
                (kind, data | {"path": slug} if "path" in data else data)
                for _, group in groupby(events, lambda event: bool(_member(event)))
                for slug, (kind, data) in sorted(((_member(event), event) for event in group), key=itemgetter(0))
            ]
        lines = [
            f"{kind} {json.dumps({name: data[name] for name in data if name != 'duration_ms'})}"
            for kind, data in events
        ]
        return "\n".join(lines) + "\n"


def _member(event: Event) -> str:
    """The slug of the member that an event tells of: one that was asked as a tool, or what that one does."""
    kind, data = event
    return data["name"].removeprefix("ask_") if kind.startswith("tool.") else data.get("path", "").partition(".")[2]


async def run(spec: AgentSpec, *scripts: list[Any], ran: Ran | None = None, told: str = "", **turn: Any) -> Ran:
    ran = ran or Ran([])
    ran.asked = [ScriptedModel.enqueue(script) for script in scripts]
    asked = {"messages": [{"role": "user", "content": "Do it."}], "max_output_tokens": 100, "parameters": {}} | turn
    if spec.instructions:
        asked["messages"] = [{"role": "system", "content": f"{spec.instructions}{told}"}, *asked["messages"]]
        asked["instructions"] = 1
    try:
        await run_team(spec, Turn(**asked), ran.transcript, ran.events.extend, ran.backing)
    except PaasError as error:
        ran.error = error
    finally:
        opened, closed = ran.of("agent.started", "path"), ran.of("agent.finished", "path")
        assert sorted(opened) == sorted(closed), "what opens is closed"
        assert len(set(opened)) == len(opened)
    return ran


def asks(slug: str, task: str, at: int = 0) -> ToolCallDelta:
    return ToolCallDelta(at, f"call-{slug}-{at}", f"ask_{slug}", json.dumps({"task": task}))


CALL = [ToolCallDelta(0, "c", "calculator", '{"expression":"6*7"}'), Finish("tool_calls")]
SCRIPTS: dict[str, list[list[Any]]] = {
    "sequential": [[ReasoningDelta("hm"), "no", "tes"], ["The ", "answer", Finish("length")]],
    "parallel": [["left"], [PaasError("provider_timeout")], [*CALL], ["42"], ["both"]],  # a graph begins later
    "iterative": [["draft"], ["better\n[[FINISH]]"]],
    "supervisor": [["Let me ask.", asks("a", "first", 0), asks("b", "second", 1)], ["seen"], ["seen"], ["Done."]],
}


def example(mode: str) -> AgentSpec:
    if mode == "parallel":
        counter = one("counter", tools=(BoundTool(CALCULATOR),))
        return team(mode, one("a"), counter, one("broken"), combiner=Member(one("judge"), "Decide."))
    return team(mode, Member(one("a"), "Collect notes."), one("b"))


@pytest.mark.parametrize("mode", list(SCRIPTS))
async def test_one_run_of_each_mode(mode: str) -> None:
    ran = await run(example(mode), *SCRIPTS[mode])
    assert ran.error is None
    file, shown = GOLDEN / f"team-{mode}.txt", ran.shown(by_member=mode == "supervisor")
    if os.environ.get("GOLDEN") == "write":
        file.write_text(shown)
    assert shown == file.read_text()
    assert all(call.ended for call in ran.backing.calls)
    assert all(step.done for step in ran.backing.trace.steps)
    assert ran.transcript.content == "".join(ran.of("text.delta", "text"))
    assert (ran.transcript.finish_reason or "stop") == ("length" if mode == "sequential" else "stop")


async def test_what_members_are_told() -> None:
    ran = await run(team("sequential", Member(one("a"), "Collect notes."), one("b")), ["notes"], ["end"])
    assert ran.system(0) == "You are a.\n\nYou are team.\n\nYour part in this team: Collect notes."
    assert (ran.last(0), ran.system(1)) == ("Do it.", "You are b.\n\nYou are team.")
    assert ran.last(1) == "Do it.\n\nWhat the team has so far:\n\n## a\nnotes"
    picture = [{"type": "image_url", "image_url": {"url": "data:x"}}]
    ran = await run(example("sequential"), ["n"], ["e"], messages=[{"role": "user", "content": picture}])
    assert ran.asked[1].request is not None
    assert [part["type"] for part in ran.asked[1].request.messages[-1]["content"]] == ["image_url", "text"]
    ran = await run(team("supervisor", one("a")), [asks("a", "Only this.")], ["yes"], ["end"])
    assert ran.asked[1].request is not None
    assert ran.asked[1].request.messages[1:] == [{"role": "user", "content": "Only this."}]
    assert ran.asked[0].request is not None
    (offer,) = ran.asked[0].request.tools or []
    assert "Knows a." in offer["function"]["description"]


async def test_results_are_cut_to_what_a_member_can_read() -> None:
    small = one("b", info=replace(INFO, context_tokens=2000))
    ran = await run(team("sequential", one("a"), small), ["x" * 9000], ["end"])
    assert ran.error is None
    assert "[Cut here.]" in ran.last(1)
    assert len(ran.last(1)) < 3200
    ran = await run(team("sequential", one("a", info=replace(INFO, context_tokens=10))))
    assert ran.error is not None
    assert (ran.error.code, ran.error.message[:3]) == ("context_too_long", "a: ")


async def test_the_callers_wishes_are_for_the_answer() -> None:
    """Its length and its sampling; a member's own limit holds all the same."""
    speaks = one("b", parameters={"max_tokens": 300, "temperature": 0.5, "fallbacks": []})
    ran = await run(team("sequential", one("a"), speaks), ["n"], ["e"], parameters={"temperature": 0.1})
    first, second = (script.request for script in ran.asked)
    assert first is not None
    assert second is not None
    assert (first.max_tokens, dict(first.parameters)) == (500, {})
    assert (second.max_tokens, dict(second.parameters)) == (100, {"temperature": 0.1})
    ran = await run(team("iterative", one("a")), ["x [[FINISH]]"], ["x\n[[FINISH]]"], parameters={"top_p": 1})
    assert [dict(script.request.parameters) for script in ran.asked if script.request] == [{"top_p": 1}] * 2
    both = team("parallel", one("a"), one("b"))
    ran = await run(both, ["x"], ["y"], parameters={"top_p": 1})
    assert [dict(script.request.parameters) for script in ran.asked if script.request] == [{}] * 2
    assert [team("sequential", one("a"), both).joins, team("sequential", both, one("a")).joins] == [True, False]
    assert not replace(both, team=replace(both.team, combiner=Member(one("c")))).joins  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("said", "answer", "calls"),
    [
        (["one", "two [[FINISH]] three", "four", "done\n\n `[[finish]]`\n"], "done", 4),
        (["first", "[[FINISH]]"], "first", 2),
        (["[[FINISH]]"], "", 1),
        (["a", "b", "c", "d", "e", "f"], "f", 6),
    ],
)
async def test_members_go_on_until_one_is_done(said: list[str], answer: str, calls: int) -> None:
    ran = await run(team("iterative", one("x"), one("y"), rounds=3), *[[text] for text in said])
    assert (ran.transcript.content, len(ran.backing.calls)) == (answer, calls)
    paths = ["r1.0.x", "r1.1.y", "r2.0.x", "r2.1.y", "r3.0.x", "r3.1.y"]
    assert ran.of("agent.started", "path") == paths[:calls]
    assert ran.of("text.delta", "text") == ([answer] if answer else [])


async def test_results_side_by_side_are_joined_and_a_failure_is_told_of() -> None:
    ran = await run(team("parallel", one("a"), one("b"), one("c")), ["A"], [PaasError("provider_timeout")], [])
    assert ran.transcript.content.startswith("## a\n\nA\n\n## b\n\n(b: The model provider took too long")
    assert ran.transcript.content.endswith("## c\n\n(It said nothing.)")
    assert ran.of("agent.finished", "ok").count(False) == 1
    ran = await run(team("parallel", one("a"), one("b")), *[[PaasError("provider_timeout")]] * 2)
    assert ran.error is not None
    assert (ran.error.code, ran.error.message[:3], ran.error.retryable) == ("provider_timeout", "a: ", True)


async def test_twenty_at_once_keep_their_order() -> None:
    members = [one(f"m{at}") for at in range(20)]
    scripts = [[f"{at}.{word} " for word in range(5)] for at in range(20)]
    ran = await run(team("parallel", *members), *scripts)
    for at in range(20):
        said = [data["text"] for kind, data in ran.events if kind == "agent.delta" and data["path"] == f"{at}.m{at}"]
        assert said == scripts[at]
    assert ran.backing.most_open == 20
    firsts = [data["path"] for kind, data in ran.events if kind == "agent.delta"][:20]
    assert len(set(firsts)) == 20, "and no one waits for another"


async def test_teams_in_teams() -> None:
    inner = team("sequential", one("x"), one("y"), slug="inner")
    ran = await run(team("sequential", inner, one("z")), ["1"], ["2"], ["3"])
    assert ran.of("agent.started", "path") == ["0.inner", "0.inner/0.x", "0.inner/1.y", "1.z"]
    assert ran.of("text.delta", "text") == ["3"]
    ran = await run(team("sequential", one("z"), inner), ["1"], ["2"], ["3"])
    assert ran.of("agent.started", "path") == ["0.z", "1.inner", "1.inner/0.x", "1.inner/1.y"]
    assert ran.of("text.delta", "text") == ["3"]
    assert ran.system(2) == "You are y.\n\nYou are team.\n\nYou are inner."
    ran = await run(team("supervisor", inner), [asks("inner", "t")], ["1"], ["2"], ["3"])
    assert ran.of("agent.started", "path") == ["1.inner", "1.inner/0.x", "1.inner/1.y"]
    ran = await run(team("sequential", one("z"), inner), ["1"], ["2"], [PaasError("provider_timeout")])
    assert ran.error is not None
    assert ran.error.message.startswith("inner: y: The model provider")


async def test_a_supervisor_is_told_when_a_member_fails_and_hands_out_its_callers_tools() -> None:
    lookup = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}}
    spec = team("supervisor", one("a"), one("b"))
    ran = await run(
        spec,
        [asks("a", "x"), ToolCallDelta(1, "c1", "ask_a", "{}")],
        [PaasError("provider_timeout")],
        [ToolCallDelta(0, "c2", "lookup", "{}"), Finish("tool_calls")],
        client_tools=(lookup,),
    )
    assert {text[:3] for text in ran.of("tool.finished", "error")} == {"The", "a: "}  # what does not fit, too
    assert ran.of("tool.called", "name") == ["lookup"]
    assert ran.transcript.finish_reason == "tool_calls"
    assert ran.asked[1].request is not None
    assert ran.asked[1].request.tools is None


async def test_answers_that_fit_a_schema() -> None:
    """A member's own, and the team's, which is the business of who answers; both are asked for once more."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    strict = one("a", output_schema=schema)
    ran = await run(team("sequential", strict, one("b")), ["no"], ['{"a":1}'], ["end"])
    assert (ran.error, ran.of("agent.finished", "content")) == (None, ['{"a":1}', None])
    assert "".join(ran.of("agent.delta", "text")) == '{"a":1}', "what did not fit, nobody is shown"
    ran = await run(team("sequential", strict, one("b")), ["no"], ["no"])
    assert ran.error is not None
    assert (ran.error.code, ran.error.message[:3]) == ("answer_not_in_schema", "a: ")
    form: dict[str, Any] = {"output_schema": schema, "told": "\n\nAnswer in JSON."}
    ran = await run(team("sequential", one("a"), one("b")), ["free"], ["no"], ['{"a":2}'], **form)
    assert (ran.error, ran.transcript.content, len(ran.backing.calls)) == (None, '{"a":2}', 3)
    assert ran.of("text.discarded", "reason") != []
    assert [("Answer in JSON." in ran.system(0)), ("Answer in JSON." in ran.system(1))] == [False, True]
    supervisor = team("supervisor", one("a"))
    ran = await run(supervisor, ["I ask.", asks("a", "x")], ["1"], ['{"a":3}'], **form)
    assert (ran.error, ran.transcript.content) == (None, '{"a":3}')
    assert "Answer in JSON." not in ran.system(1)


async def test_limits_hold_for_the_whole_team() -> None:
    """An endless delegation, a talker without end, and members' own limits within the team's."""
    loops = [[asks("a", "again")] if at % 2 == 0 else ["done"] for at in range(40)]
    ran = await run(team("supervisor", one("a"), limits=RunLimits(steps=9)), *loops)
    assert ran.error is not None
    assert (ran.error.code, len(ran.backing.calls)) == ("too_many_steps", 9)
    ScriptedModel.reset()
    ran = await run(team("supervisor", one("a"), limits=RunLimits(tool_calls=3)), *loops)
    assert ran.error is not None
    assert (ran.error.code, ran.of("tool.started", "name")) == ("too_many_tool_calls", ["ask_a"] * 3)
    ScriptedModel.reset()
    busy = one("busy", tools=(BoundTool(CALCULATOR),), limits=RunLimits(tool_calls=5))
    ran = await run(team("sequential", busy, busy, limits=RunLimits(tool_calls=1)), [*CALL], ["1"], [*CALL])
    assert ran.error is not None
    assert (ran.error.code, ran.error.message[:6]) == ("too_many_tool_calls", "busy: ")
    wordy = one("a", limits=RunLimits(tokens=60))
    ran = await run(team("sequential", wordy, one("b")), ["x", UsageReport(10, 5, 0, 0)], ["y"])
    assert ran.asked[0].request is not None
    assert ran.asked[0].request.max_tokens is not None
    assert ran.asked[0].request.max_tokens < 60
    ran = await run(team("sequential", one("a"), limits=RunLimits(tokens=5)))
    assert ran.error is not None
    assert ran.error.code == "run_token_limit"


@pytest.mark.parametrize("mode", ["sequential", "parallel", "supervisor"])
async def test_time_and_stop_reach_every_member(mode: str) -> None:
    never = asyncio.Event()
    scripts: list[list[Any]] = [["a", never]] * 2
    if mode == "supervisor":
        scripts.insert(0, [asks("a", "x", 0), asks("b", "y", 1)])
    hasty = RunLimits(seconds=0.2)  # type: ignore[arg-type]
    for limits in (hasty, WIDE):
        ran = Ran([])
        work = asyncio.create_task(run(team(mode, one("a"), one("b"), limits=limits), *scripts, ran=ran))
        if limits is WIDE:
            while not ran.of("agent.delta", "text") + ran.of("text.delta", "text"):
                await asyncio.sleep(0)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
        else:
            await work
            assert ran.error is not None
            assert ran.error.code == "run_too_long"
        assert set(ran.of("agent.finished", "error")) <= {"It was stopped."}
        assert all(script.closed for script in ran.asked if script.request)
        assert all(call.ended for call in ran.backing.calls)
        ScriptedModel.reset()
    slow = one("slow", limits=hasty)
    ran = await run(team("parallel", slow, one("quick")), ["a", never], ["b"])
    assert sorted(ran.of("agent.finished", "ok")) == [False, True]
    assert "(slow: The agent took longer than it may." in ran.transcript.content


@pytest.mark.parametrize("mode", list(SCRIPTS))
async def test_a_run_that_goes_on_asks_nobody_again(mode: str) -> None:
    """Its trace gives back what was said before, and nothing of it is told twice."""
    whole = await run(example(mode), *SCRIPTS[mode])
    journal = json.loads(json.dumps(whole.backing.trace.journal(), default=str))
    again = await run(example(mode), ran=Ran([], backing=Backing(Trace.from_journal(journal))))
    assert (again.error, again.backing.calls) == (None, [])
    assert [kind for kind in again.kinds if kind != "text.delta"] == []
    assert again.transcript.content == whole.transcript.content


async def test_a_run_that_waited_asks_for_what_is_missing() -> None:
    """The first member is done, the second had begun: it goes on, and its beginning is not told again."""
    trace = Trace()
    steps = trace.at("")
    steps.end(steps.agent("0.a", "a", "A", "Do it."), {"text": "notes", "reason": "stop"})
    steps.agent("1.b", "b", "B", "Do it.")
    ran = Ran([], backing=Backing(Trace.from_journal(trace.journal())))
    ran.events.append(("agent.started", {"path": "1.b"}))  # as the log has it already
    ran = await run(example("sequential"), ["end"], ran=ran)
    assert (ran.error, ran.transcript.content) == (None, "end")
    assert ran.last(0) == "Do it.\n\nWhat the team has so far:\n\n## a\nnotes"
    assert ran.kinds == ["agent.started", "text.delta", "agent.finished"]
