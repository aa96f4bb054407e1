"""Run events: the one vocabulary of what happens in a run. Names are permanent.

On every native wire an event travels in the envelope `{"v": 1, "run_id", "seq", "type", "data"}`; `seq` starts
at 1 and strictly increases in a run. Whatever opens is closed, and exactly one terminal event ends the run.
The TypedDicts are the schema: `manage.py export_protocol` writes docs/protocol/run-events.schema.json from
them, and the page's TypeScript types are generated from that file.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from agents.tools.spec import Effect

VERSION = 1

RUN_QUEUED = "run.queued"
RUN_STARTED = "run.started"
MODEL_CHANGED = "model.changed"
TEXT_DELTA = "text.delta"
TEXT_DISCARDED = "text.discarded"
REASONING_DELTA = "reasoning.delta"
TOOL_STARTED = "tool.started"
TOOL_FINISHED = "tool.finished"
TOOL_DELTA = "tool.delta"
TOOL_CALLED = "tool.called"
AGENT_STARTED = "agent.started"
AGENT_DELTA = "agent.delta"
AGENT_FINISHED = "agent.finished"
SOURCE_CITED = "source.cited"
APPROVAL_REQUESTED = "approval.requested"
APPROVAL_DECIDED = "approval.decided"
MESSAGE_COMPLETED = "message.completed"
RUN_COMPLETED = "run.completed"
RUN_FAILED = "run.failed"
RUN_CANCELLED = "run.cancelled"
TERMINAL = frozenset({RUN_COMPLETED, RUN_FAILED, RUN_CANCELLED})

# (type, data): the number is the log's to give. A tuple, because one is made for every token.
Event = tuple[str, dict[str, Any]]

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "error"]


class AgentName(TypedDict):
    slug: str
    name: str


class Usage(TypedDict):
    """Tokens of a run. counted: ours, because the vendor never said. cost: decimal text, null when unpriced, and when
    the models of a team are paid in several currencies: then `costs` has the sum of each."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    counted: bool
    cost: str | None
    currency: str
    costs: NotRequired[dict[str, str | None]]


class RunQueuedData(TypedDict):
    """A run that waits, before it starts. position: how many come before it, and itself; told again when it changes."""

    position: int


class RunStartedData(TypedDict):
    agent: AgentName
    model: str
    conversation_id: str | None
    continues: NotRequired[str]  # the message that the deltas of this run are appended to


class ModelChangedData(TypedDict):
    """Another model answers than `run.started` said, before its first word. reason: the code of what was wrong."""

    model: str
    reason: str
    path: NotRequired[str]  # of the member of a team that it answers for


class DeltaData(TypedDict):
    text: str


class TextDiscardedData(TypedDict):
    """The text so far is no part of the answer: what comes now takes its place. reason: a sentence."""

    reason: str


class ToolStartedData(TypedDict):
    """path: of the member of a team that calls it; without it, the run's own agent does."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    effect: NotRequired[Effect]
    path: NotRequired[str]


class ToolFinishedData(TypedDict):
    """What a tool of the agent's said: `result`, or `error` where it is not ok. Long ones are cut, and say so.

    tainted: it comes from outside, and from here on tools that write or ask hosts outside wait for a person.
    """

    call_id: str
    name: str
    result: NotRequired[str | None]
    error: NotRequired[str | None]
    ok: NotRequired[bool]
    duration_ms: NotRequired[int]
    effect: NotRequired[Effect]
    tainted: NotRequired[bool]
    path: NotRequired[str]


class ToolDeltaData(TypedDict):
    """A piece of a call of one of the caller's own tools, which the caller runs. index: which call of the answer, from
    0. call_id and name come with a call's first piece; the pieces of `arguments` are joined to JSON text."""

    index: int
    arguments: str
    call_id: NotRequired[str]
    name: NotRequired[str]


class ToolCalledData(TypedDict):
    """A whole call of one of the caller's own tools, after its pieces. arguments: JSON text as the model wrote it."""

    index: int
    call_id: str
    name: str
    arguments: str


class AgentStartedData(TypedDict):
    """A member of a team begins. path: where in the team it works, and when: "0.research/1.checker" is the second
    member of a team that is the first one; "r2.0.writer" the first one in the second round; "3.writer" of a supervisor
    the one that its third step asked. task: what it is to do, cut."""

    path: str
    slug: str
    name: str
    task: str


class AgentDeltaData(TypedDict):
    """A piece of what a member says. Whose words are the run's answer says them as `text.delta`. reasoning: it is a
    piece of its reasoning instead."""

    path: str
    text: str
    reasoning: NotRequired[bool]


class AgentFinishedData(TypedDict):
    """A member has ended: `content` is what it said, cut where it is long; null where that is the run's answer. error:
    a sentence, where it is not ok."""

    path: str
    ok: bool
    content: NotRequired[str | None]
    error: NotRequired[str | None]
    duration_ms: int


class SourceCitedData(TypedDict):
    """A passage of a knowledge base that the model was shown, before it says anything from it. The answer cites it as
    [n]; a passage keeps its n in a run. quote: its beginning. score: 0 to 1, by its ranks. call_id: of the search.
    ordinal: the passage's place in its document. vector_rank, keyword_rank: its rank among the nearest passages, and
    among those with the words; null: it was not among them. picture: its page can be shown, with it marked."""

    n: int
    call_id: str
    knowledge: str
    document_id: str
    title: str
    url: str
    page: int | None
    heading: str
    chunk_id: str
    score: float
    quote: str
    ordinal: NotRequired[int]
    vector_rank: NotRequired[int | None]
    keyword_rank: NotRequired[int | None]
    picture: NotRequired[bool]
    path: NotRequired[str]


class ApprovalRequestedData(TypedDict):
    """A call of a tool waits for a person, with these arguments to the letter. Whoever decides names their hash.

    reason: what was read from outside could have asked for it, or the workspace wants every such call to be seen, or
    the tool was changed after the same call was approved.
    """

    approval_id: str
    call_id: str
    name: str
    effect: Effect
    arguments: dict[str, Any]
    arguments_hash: str
    reason: Literal["tainted", "policy", "changed"]
    expires_at: str
    path: NotRequired[str]


class ApprovalDecidedData(TypedDict):
    """by: the person who decided; null when it expired, or when the run has ended before."""

    approval_id: str
    call_id: str
    decision: Literal["approved", "denied", "expired"]
    by: str | None
    note: str
    path: NotRequired[str]


class MessageCompletedData(TypedDict):
    message_id: str | None
    content: str
    finish_reason: FinishReason


class RunCompletedData(TypedDict):
    finish_reason: FinishReason
    usage: Usage


class RunFailedData(TypedDict):
    code: str
    message: str
    retryable: bool
    usage: Usage


class RunCancelledData(TypedDict):
    usage: Usage


DATA_TYPES: dict[str, type] = {
    RUN_QUEUED: RunQueuedData,
    RUN_STARTED: RunStartedData,
    MODEL_CHANGED: ModelChangedData,
    TEXT_DELTA: DeltaData,
    TEXT_DISCARDED: TextDiscardedData,
    REASONING_DELTA: DeltaData,
    TOOL_STARTED: ToolStartedData,
    TOOL_FINISHED: ToolFinishedData,
    TOOL_DELTA: ToolDeltaData,
    TOOL_CALLED: ToolCalledData,
    AGENT_STARTED: AgentStartedData,
    AGENT_DELTA: AgentDeltaData,
    AGENT_FINISHED: AgentFinishedData,
    SOURCE_CITED: SourceCitedData,
    APPROVAL_REQUESTED: ApprovalRequestedData,
    APPROVAL_DECIDED: ApprovalDecidedData,
    MESSAGE_COMPLETED: MessageCompletedData,
    RUN_COMPLETED: RunCompletedData,
    RUN_FAILED: RunFailedData,
    RUN_CANCELLED: RunCancelledData,
}


def run_queued(position: int) -> Event:
    """A run that waits for its turn."""
    return RUN_QUEUED, {"position": position}


def model_changed(model: str, reason: str, path: str = "") -> Event:
    """Another model is asked, because the one before has failed with `reason`; path: for which member of a team."""
    return MODEL_CHANGED, {"model": model, "reason": reason} | ({"path": path} if path else {})


def run_started(
    slug: str, name: str, model: str, conversation_id: object | None, continues: object | None = None
) -> Event:
    """The first event of every run that did not have to wait."""
    conversation = str(conversation_id) if conversation_id else None
    data = {"agent": {"slug": slug, "name": name}, "model": model, "conversation_id": conversation}
    return RUN_STARTED, data | ({"continues": str(continues)} if continues else {})


def approval_decided(call: dict[str, Any], decision: str, by: str | None, note: str) -> Event:
    """What was decided on a call. call: approval_id, call_id, and path where it has one."""
    return APPROVAL_DECIDED, call | {"decision": decision, "by": by, "note": note}
