"""Agent and its immutable versions (tenant schema)."""

from __future__ import annotations

import re

from django.core.validators import RegexValidator
from django.db import models

from core import clock
from core.ids import uuid7
from llm.models import ProviderAccount
from tenants.fields import EncryptedTextField

SLUG = re.compile(r"^[a-z0-9](?:[a-z0-9_.-]{0,58}[a-z0-9])?\Z")
slug_validator = RegexValidator(SLUG.pattern, "Use 1 to 60 small letters, digits, and inner . _ or -.")


class Agent(models.Model):
    """Something people chat with, by its slug; what it does is its current version. Without one it is not published.

    kind "builtin": one of agents/registry.py, whose row is made when it is first used. draft: what its next version is
    to be (agents/drafts.py); null: nobody has begun one.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(max_length=60, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True, max_length=1000)
    kind = models.CharField(max_length=10, blank=True, default="", db_default="", editable=False)
    current = models.ForeignKey(
        "AgentVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_constraint=True
    )
    draft = models.JSONField(null=True, blank=True, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return self.slug


class AgentVersion(models.Model):
    """What an agent was from one moment on. Never changed (a trigger holds that); a change is a new version.

    parameters: sampling parameters sent to the model (temperature, top_p, max_tokens, ...). Without a provider it is a
    built-in agent's, or one that only keeps imported conversations. number: published ones count from 1; 0 is a draft
    as somebody tried it, kept because runs point to it. restores: the version whose content it brought back. tools:
    [{"name", "settings"}], of agents/tools/registry.py. limits: fields of agents.tools.spec.RunLimits; what is left out
    is its default. memory: it may note things about a person and is told them again (agents/memories.py).
    output_schema: the JSON schema that its answers fit (agents/output.py); {} is none. team: of an agent that is one
    (agents/teams.py); its members are those versions for ever. knowledge: the slugs of the knowledge bases that it may
    search (agents/tools/knowledge.py). rewrite_queries: what it looks for there is worded by the conversation first
    (agents/tools/wording.py).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    provider = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT, null=True, related_name="+")
    model = models.CharField(max_length=120)
    instructions = models.TextField(blank=True, max_length=50_000)
    parameters = models.JSONField(default=dict, blank=True)
    tools = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    limits = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    memory = models.BooleanField(default=False, db_default=False)
    output_schema = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    team = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    knowledge = models.JSONField(default=list, blank=True, db_default=models.Value([], models.JSONField()))
    rewrite_queries = models.BooleanField(default=False, db_default=False)
    note = models.CharField(max_length=500, blank=True, default="", db_default="")
    restores = models.PositiveIntegerField(null=True, blank=True)
    created_by = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["agent", "number"], condition=models.Q(number__gt=0), name="agent_version_published_once"
            )
        ]
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"{self.agent_id} v{self.number}"

    @property
    def unasked(self) -> list[str]:
        """The fields that it does without, because no model of its own is asked: of a team without a supervisor."""
        return ["provider", "model"] if self.team and self.team.get("mode") != "supervisor" else []


class Memory(models.Model):
    """What an agent noted about a person (a user's id; there is no foreign key out of the schema), for later runs.

    run_id: the run that noted it. tainted: that run had read what nobody vouches for, so this may be somebody else's
    word (P55).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user_id = models.UUIDField()
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="memories")
    text = models.CharField(max_length=500)
    run_id = models.UUIDField()
    tainted = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user_id", "agent", "text"], name="memory_once")]
        indexes = [models.Index(fields=["user_id", "agent", "-id"], name="memory_newest")]

    def __str__(self) -> str:
        return f"of {self.user_id}: {self.text[:40]}"


class MemoryPause(models.Model):
    """That a person has switched memory off: nothing is noted about them, and nothing is told."""

    user_id = models.UUIDField(primary_key=True)
    since = models.DateTimeField(default=clock.now, editable=False)

    def __str__(self) -> str:
        return f"of {self.user_id}"


class McpServer(models.Model):
    """An MCP server of the tenant's. Make and change it with agents.mcp.services.

    secret: the whole value of `header`. tools: as last seen, each with name, description, parameters and hash.
    approved: a tool's name -> the hash and the effect that somebody agreed to, with the description and parameters that
    they read; another hash is not offered (P51).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(
        max_length=30, unique=True, validators=[RegexValidator(r"^[a-z0-9-]+\Z", "Use small letters, digits and -.")]
    )
    url = models.CharField(max_length=500)
    header = models.CharField(max_length=60, default="Authorization")
    secret = EncryptedTextField(blank=True, default="")
    enabled = models.BooleanField(default=True)
    tools = models.JSONField(default=list, blank=True)
    approved = models.JSONField(default=dict, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class McpConnection(models.Model):
    """The OAuth authorization with which the tenant's calls reach one of its MCP servers. Make it with
    agents.mcp.connections; agents.mcp.tokens hands its token out and renews it.

    server_data: the authorization server, as agents.mcp.discovery.AuthorizationServer; client and tokens are for it and
    for `resource` alone. typed: somebody entered the client; otherwise it was registered. access_token: "" until
    somebody has agreed, and after the authorization server has refused to renew it. version: counts the tokens, for the
    compare-and-swap of their renewal; refreshing_until: while somebody renews them.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    server = models.OneToOneField(McpServer, on_delete=models.CASCADE, related_name="connection")
    issuer = models.CharField(max_length=2000)
    server_data = models.JSONField(default=dict)
    resource = models.CharField(max_length=2000)
    scope = models.CharField(max_length=11_000, blank=True, default="")
    redirect_uri = models.CharField(max_length=500)
    client_id = models.CharField(max_length=500)
    client_secret = EncryptedTextField(blank=True, default="")
    client_method = models.CharField(max_length=40)
    typed = models.BooleanField(default=False)
    access_token = EncryptedTextField(blank=True, default="")
    refresh_token = EncryptedTextField(blank=True, default="")
    expires_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)
    refreshing_until = models.DateTimeField(null=True)
    connected_by = models.UUIDField(null=True)
    connected_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.issuer


class Tool(models.Model):
    """A tool that the workspace builds of an HTTP request; see agents/tools/http.py. Make it with
    agents.tools.http_services. It is off until somebody has tried it and switches it on.

    parameters: [{"name", "in": path, query, header or body, "type", "description", "required"}]. headers: sent with
    every call; {{secret}} stands for the secret, which is for secret_host alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[a-zA-Z0-9_-]{1,64}\Z", "Use letters, digits, _ or -.")],
    )
    description = models.CharField(max_length=1000)
    method = models.CharField(
        max_length=6, default="GET", choices=[(one, one) for one in ("GET", "POST", "PUT", "PATCH", "DELETE")]
    )
    url = models.CharField(max_length=1000)
    parameters = models.JSONField(default=list, blank=True)
    headers = models.JSONField(default=dict, blank=True)
    secret = EncryptedTextField(blank=True, default="")
    secret_host = models.CharField(max_length=255, blank=True, default="", editable=False)
    result_path = models.CharField(max_length=200, blank=True, default="", help_text="Such as data.items.0.title")
    enabled = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ToolSetting(models.Model):
    """What a tenant says about one tool. Without a row it is on and unlimited. 0 calls: none.

    approval: when a call waits for a person (agents/tools/gate.py).
    """

    class Approval(models.TextChoices):
        NEVER = "never"
        TAINTED = "tainted"  # where text from outside could have asked for it
        ALWAYS = "always"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=64, unique=True)
    enabled = models.BooleanField(default=True)
    calls_per_day = models.PositiveIntegerField(null=True)
    calls_per_month = models.PositiveIntegerField(null=True)
    approval = models.CharField(
        max_length=8, choices=Approval.choices, default=Approval.TAINTED, db_default=Approval.TAINTED
    )
    api_key = EncryptedTextField(
        blank=True, default="", help_text="For the service behind the tool, where it needs one."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ToolUse(models.Model):
    """How often a tool was called on one day (UTC). Counted and held by `tool_begin`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=64)
    day = models.DateField()
    calls = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    duration_ms = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "day"], name="tool_use_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.day}: {self.calls}"


class ToolCall(models.Model):
    """One call of a tool, written down before it is made: who, for which run, what came of it. What was said is in the
    run's log. ok None: its end is not known, because the run was stopped or its process died."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField()
    run_id = models.UUIDField()
    agent = models.CharField(max_length=60)
    user_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    name = models.CharField(max_length=64)
    effect = models.CharField(max_length=6)
    ok = models.BooleanField(null=True)
    duration_ms = models.IntegerField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["-at"], name="tool_call_recent"),
            models.Index(fields=["run_id"], name="tool_call_run"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of run {self.run_id}"
