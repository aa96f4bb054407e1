"""Agents as values: what the engine is given. Bound to their tenant."""

from __future__ import annotations

from dataclasses import replace

from django.db.models import Q

from agents import drafts, teams
from agents.builtin_specs import builtin_spec
from agents.charges import charged_info
from agents.fallbacks import fallbacks_of
from agents.models import Agent, AgentVersion
from agents.output import asked_for
from agents.runtime.spec import DEFAULT_CONTEXT_TOKENS, AgentSpec, Member, TeamSpec
from agents.teams import Team
from agents.tools.knowledge import with_knowledge
from agents.tools.registry import bound_tools
from agents.tools.spec import RunLimits
from core.errors import PaasError
from llm.catalog import ModelInfo
from llm.selectors import provider_ref
from tenants import limits, scope

OWN_MODEL = Q(current__provider__isnull=False) | ~Q(current__team={})  # and no agent that only keeps conversations
UNAVAILABLE = "The agent {slug}, a member of this team, {what}. Ask an administrator to change the team."


def agent_spec(slug: str) -> AgentSpec | None:
    """One of the tenant's own agents as a value; the oldest one for "".

    Raises provider_not_configured when its provider is off, model_not_found when that does not allow its model,
    provider_not_in_plan; for a team also where that is so of a member, and agent_not_found for one that is archived.
    """
    usable = Agent.objects.select_related("current__provider").filter(OWN_MODEL, kind="", archived_at=None)
    usable = usable.annotate(own_rate=limits.rate_of("agent", scope.current_tenant().id, "pk"))
    agent = (usable.filter(slug=slug) if slug else usable).first()
    if agent is None or agent.current is None:
        return None
    rate = None if agent.own_rate is None else int(agent.own_rate)
    return replace(_usable(agent, agent.current), requests_per_minute=rate)


def pinned_spec(slug: str, pin: str) -> AgentSpec | None:
    """One version of one of the tenant's own agents as a value, whatever is published now; None for a number that the
    agent has not, and for an agent that is not there or archived. pin: a number, or `draft`.

    Raises as `agent_spec`, and validation_failed for a draft that is not whole.
    """
    usable = Agent.objects.select_related("current").filter(kind="", archived_at=None, slug=slug)
    agent = usable.annotate(own_rate=limits.rate_of("agent", scope.current_tenant().id, "pk")).first()
    if agent is None:
        return None
    if pin == drafts.DRAFT:
        version = drafts.draft_tried(agent)
    else:
        found = AgentVersion.objects.select_related("provider").filter(agent=agent, number=int(pin)).first()
        if found is None:
            return None
        version = found
    rate = None if agent.own_rate is None else int(agent.own_rate)
    return replace(_usable(agent, version), requests_per_minute=rate)


def spec_of_run_version(agent: Agent, version: AgentVersion) -> AgentSpec:
    """What a run of this version runs. Raises agent_not_found for a built-in agent that this release has not, and
    provider_not_configured for one that needs a model where there is none any more."""
    if version.provider is not None or version.team:
        return spec_of_version(agent, version)
    found = builtin_spec(agent.slug)
    if found is None:
        raise PaasError("agent_not_found")
    return replace(found, version_id=version.id)


def spec_of_version(agent: Agent, version: AgentVersion) -> AgentSpec:
    """One version of an agent as a value, whatever has become of the agent, or of a team's members, since.

    Raises provider_not_configured for one that asks a model and has none.
    """
    return _spec(agent, version, check=False)


def _usable(agent: Agent, version: AgentVersion) -> AgentSpec:
    """As spec_of_version, of one that is to be asked now. Raises where it cannot be."""
    _check_askable(version)
    return _spec(agent, version, check=True)


def _check_askable(version: AgentVersion) -> None:
    """Raise provider_not_configured when the account is off, model_not_found when it does not allow the model. Of the
    platform's accounts provider_ref says it."""
    account = version.provider
    if version.unasked or (account is not None and account.of_platform):
        return
    if account is None or not account.enabled:
        raise PaasError("provider_not_configured")
    if not account.allows(version.model):
        raise PaasError("model_not_found", "This workspace does not allow the agent's model any more.")


def _spec(agent: Agent, version: AgentVersion, *, check: bool, depth: int = 1) -> AgentSpec:
    """check: of a team, also whether its members can be asked now. depth: of a team among those around it."""
    if not version.team:
        return _own_spec(agent, version)
    if depth > teams.MOST_DEPTH:
        raise PaasError("internal_error")  # nobody could have published it
    members, combiner = _members(version.team, check, depth)
    everybody = [*members, *([combiner] if combiner else [])]
    if version.unasked:
        asked = [one for member in everybody for one in member.spec.askable]
        base = next((one for one in asked if one.answer is None), asked[0])
        answering = everybody[-1].spec
        most = {"max_tokens": answering.parameters["max_tokens"]} if "max_tokens" in answering.parameters else {}
        base = replace(
            base,
            agent_id=agent.id,
            version_id=version.id,
            slug=agent.slug,
            name=agent.name,
            description=agent.description,
            instructions=version.instructions,
            parameters=most | version.parameters,
            answer=None,
            fallbacks=(),
            tools=(),
            memory=False,
            output_schema=version.output_schema,
            requests_per_minute=None,
        )
        info = _taken([one.spec.taken for one in everybody], base.info)
    else:
        base = _own_spec(agent, version)
        info = _taken([base.info], base.info)
    if not all(one.info.priced for member in everybody for one in member.spec.askable):
        info = replace(info, input_price=None, output_price=None)
    rounds = version.team.get("rounds", teams.ROUNDS)
    team = TeamSpec(version.team["mode"], tuple(members), info, rounds, combiner)
    return replace(base, team=team, limits=RunLimits(**(teams.LIMITS | version.limits)))


def _own_spec(agent: Agent, version: AgentVersion) -> AgentSpec:
    """Of a version that asks a model of its own."""
    account = version.provider
    if account is None:
        raise PaasError("provider_not_configured")
    info = charged_info(account, version.model)
    return AgentSpec(
        agent_id=agent.id,
        version_id=version.id,
        slug=agent.slug,
        name=agent.name,
        description=agent.description,
        model=version.model,
        instructions=version.instructions,
        parameters=version.parameters,
        provider=provider_ref(account, version.model),
        provider_name=account.name,
        info=info,
        fallbacks=fallbacks_of(version.parameters, info),
        tools=bound_tools(with_knowledge(version.tools, version.knowledge, rewrite=version.rewrite_queries)),
        limits=RunLimits(**version.limits),
        memory=version.memory,
        output_schema=version.output_schema,
    )


def _members(team: Team, check: bool, depth: int) -> tuple[list[Member], Member | None]:
    """(the members, the combiner if there is one)."""
    found = teams.versions_named(teams.names_in(team))

    def spec(name: str) -> AgentSpec:
        version, slug = found.get(name), teams.slug_of(name)
        if version is None:
            built = builtin_spec(slug)
            if built is None:
                raise PaasError("agent_not_found", UNAVAILABLE.format(slug=slug, what="is not there any more"))
            return built
        if check and version.agent.archived_at is not None:
            raise PaasError("agent_not_found", UNAVAILABLE.format(slug=slug, what="is archived"))
        try:
            if check:
                _check_askable(version)
            return _spec(version.agent, version, check=check, depth=depth + 1)
        except PaasError as error:
            raise PaasError(error.code, f"{slug}: {error.message}", details=error.details) from error

    members = [Member(_formed(spec(one["agent"])), one.get("role", "")) for one in team["members"]]
    return members, Member(_formed(spec(team["combiner"]))) if "combiner" in team else None


def _formed(spec: AgentSpec) -> AgentSpec:
    """A member whose answers fit a schema, told so. (Of an agent that is asked itself, chat/forms.py sees to it.)"""
    if not spec.output_schema or spec.team is not None:
        return spec
    prompt, parameters = asked_for(spec.output_schema, (spec.info, *(one.info for one in spec.fallbacks)))
    told = "\n\n".join(filter(None, (spec.instructions, prompt)))
    return replace(spec, instructions=told, parameters=spec.parameters | parameters)


def _taken(readers: list[ModelInfo], base: ModelInfo) -> ModelInfo:
    """What a team takes whose caller's messages these read, the last of which answers."""
    return replace(
        base,
        context_tokens=min(one.context_tokens or DEFAULT_CONTEXT_TOKENS for one in readers),
        max_output_tokens=readers[-1].max_output_tokens,
        features=frozenset.intersection(*(one.features for one in readers)),
    )
