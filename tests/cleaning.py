"""What empties the platform after every test that wrote into it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import psycopg
from redis import Redis

if TYPE_CHECKING:
    from tests.conftest import Platform
    from tests.services import Services

_TENANT_TABLES = (
    "knowledge_chunk",
    "knowledge_pagetext",
    "knowledge_upload",
    "knowledge_document",
    "knowledge_knowledgebase",
    "agents_tool",
    "agents_toolsetting",
    "agents_tooluse",
    "agents_toolcall",
    "agents_memory",
    "agents_memorypause",
    "agents_mcpconnection",
    "agents_mcpserver",
    "chat_response",
    "chat_idempotencykey",
    "chat_runtask",
    "chat_runtrace",
    "chat_approval",
    "chat_letin",
    "chat_schedule",
    "chat_scheduledrun",
    "chat_runsegment",
    "chat_feedback",
    "chat_conversationfile",
    "chat_messagewords",
    "chat_message",
    "chat_run",
    "chat_conversation",
)
_KEPT_TABLES = ("llm_provideraccount", "agents_agent", "agents_agentversion")
_SHARED_TABLES = (
    "usage_quota", "usage_reservation", "usage_usagerecord", "usage_seal", "usage_ledgerhead", "usage_price",
    "tenants_limit", "tenants_retiredslug", "tenants_alarm", "tenants_notice", "tenants_platformprovider", "usage_limitwarning", "usage_dailyuse", "usage_dailyusemark", "usage_margin", "usage_invoice", "usage_sessioncount", "accounts_session", "accounts_auditevent",
    "accounts_apikey", "accounts_invitation", "accounts_signup", "accounts_onetimecode", "accounts_identityprovider",
    "accounts_refreshfamily", "accounts_audithead", "accounts_impersonation", "account_emailaddress", "socialaccount_socialtoken",
    "socialaccount_socialaccount", "mfa_authenticator", "django_admin_log", "procrastinate_jobs", "procrastinate_events", "procrastinate_workers",
    "procrastinate_periodic_defers",
)  # fmt: skip


class Cleaner:
    """One connection to each service for the whole run: a new one plans thirty statements for each test anew."""

    def __init__(self, services: Services, platform: Platform) -> None:
        self._services = services
        self._people = list(platform.people)
        tables = [f"public.{table}" for table in _SHARED_TABLES]
        tables += [f"{ref.schema}.{table}" for ref in (platform.acme, platform.globex) for table in _TENANT_TABLES]
        deletes = [f"DELETE FROM {table};" for table in tables]
        deletes.append("UPDATE public.usage_invoicecounter SET last = 0;")
        deletes.append("DELETE FROM public.accounts_membership WHERE NOT user_id = ANY(people);")
        deletes.append("DELETE FROM public.accounts_user WHERE NOT id = ANY(people);")
        both = f"IN ('{platform.acme.id}', '{platform.globex.id}')"
        kept = {
            "public.tenants_plan": "true",
            "public.tenants_tenant": f"live.id {both}",
            "public.tenants_domain": f"live.tenant_id {both}",
            "public.accounts_user": "live.id = ANY(people)",
            "public.accounts_membership": "live.user_id = ANY(people)",
        }
        kept |= {f"{ref.schema}.{table}": "true" for ref in (platform.acme, platform.globex) for table in _KEPT_TABLES}
        for number, (table, ours) in enumerate(kept.items()):
            deletes.append(
                f"DELETE FROM {table} live WHERE {ours} AND NOT EXISTS (SELECT 1 FROM pg_temp.kept_{number} kept WHERE kept = live);"
            )
            deletes.append(
                f"INSERT INTO {table} SELECT * FROM pg_temp.kept_{number} kept WHERE NOT EXISTS (SELECT 1 FROM {table} live WHERE live = kept);"
            )
        self._function = f"CREATE FUNCTION pg_temp.clean(people uuid[]) RETURNS void LANGUAGE plpgsql AS $$ BEGIN {' '.join(deletes)} END $$"
        self._superuser: psycopg.Connection | None = None
        self._redis: Redis | None = None
        with psycopg.connect(services.postgres.admin_url, dbname="paas") as superuser:
            self._kept = [
                (
                    table,
                    superuser.execute(f"SELECT coalesce(jsonb_agg(t), '[]')::text FROM {table} t".encode()).fetchone()[
                        0
                    ],
                )
                for table in kept
            ]

    def clean(self) -> None:
        """The plans, the two tenants, the cast, and the agents `assistant` are as they were at first; there are no files."""
        try:
            self._delete()
        except psycopg.OperationalError:
            self._disconnect()  # the test has stopped PostgreSQL, or cut every connection
            self._delete()
        if self._redis is None:
            self._redis = Redis.from_url(self._services.redis.url)
        self._redis.flushdb()
        shutil.rmtree(self._services.files, ignore_errors=True)

    def close(self) -> None:
        self._disconnect()
        if self._redis is not None:
            self._redis.close()
            self._redis = None

    def _delete(self) -> None:
        if self._superuser is None:
            self._superuser = psycopg.connect(self._services.postgres.admin_url, dbname="paas", autocommit=True)
            # As a replica, no trigger (append-only) and no key stands in the way.
            self._superuser.execute("SET session_replication_role = replica")
            for number, (table, rows) in enumerate(self._kept):
                self._superuser.execute(
                    f"CREATE TEMP TABLE kept_{number} AS SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s)".encode(),
                    [rows],
                )
            self._superuser.execute(self._function.encode())
        self._superuser.execute("SELECT pg_temp.clean(%s)", [self._people])

    def _disconnect(self) -> None:
        if self._superuser is not None:
            self._superuser.close()
            self._superuser = None
