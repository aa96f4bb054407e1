"""The five dashboards."""

from __future__ import annotations

from collections.abc import Iterator

from paas.dashboards.panels import Dashboard, Panel

OLDEST = "paas_documents_waiting_seconds and on (instance) topk(1, paas_documents_read_timestamp_seconds)"
LIMITS = 'paas_turns_refused_total{code=~"quota_exceeded|session_limit_reached|rate_limited|too_many_runs"}'
RUNS_HERE = 'paas_tenant_runs_total{tenant="$tenant"}'
TOKENS_HERE = 'paas_tenant_tokens_total{tenant="$tenant"}'
PRICED = "provider, model, currency"
CACHED, INPUT = 'paas_tokens_total{kind="cached"}', 'paas_tokens_total{kind="input"}'
FAILED_CALLS = 'paas_model_calls_total{outcome=~"provider_.*|breaker_open"}'
ANSWERED_CALLS = 'paas_model_calls_total{outcome!="left"}'
FREE, SIZE = 'paas_disk_bytes{state="free"}', 'paas_disk_bytes{state="size"}'
FAILED_JOBS = 'paas_jobs_total{outcome="failed"}'
VERIFIED = "they were verified, which is done every hour"
BURNING = {"5 minutes": "5m", "1 hour": "1h", "6 hours": "6h", "3 days": "3d"}


def most(metric: str, by: str) -> str:
    """The ten with the most of a counter in the range shown."""
    return f"topk(10, sum by ({by}) (increase({metric}[$__range])))"


def rate(metric: str, by: str = "") -> str:
    """How much a counter grows in a second, added up. by: labels that are told apart."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}[$__rate_interval]))"


def quantiles(histogram: str, by: str = "", *, of: str = "") -> dict[str, str]:
    """The median and the slowest twentieth of a histogram. of: a selector of its series."""
    labels = f"le, {by}" if by else "le"
    name = f"{{{{{by}}}}} " if by else ""
    return {
        f"{name}p{share * 100:g}": f"histogram_quantile({share}, {rate(f'{histogram}_bucket{of}', labels)})"
        for share in (0.5, 0.95)
    }


def objective(name: str, budget: str) -> Panel:
    """How many times too fast the budget of an objective burns; see deploy/prometheus/rules/objectives.yml."""
    return Panel(
        f"Budget of {name.replace('_', ' ')}: burnt n times as fast as allowed",
        {told: f"paas:{name}:bad_ratio{window} / {budget}" for told, window in BURNING.items()},
        text="1 uses up a month's budget in a month. It pages at 14.4 over an hour and at 6 over six.",
        red=1,
    )


def one(title: str, query: str, **more: object) -> Panel:
    """A number."""
    return Panel(title, {"": query}, kind="stat", width=4, **more)  # type: ignore[arg-type]


PLATFORM = Dashboard(
    "paas-platform",
    "Platform",
    "Whether people are served: objectives, processes, requests, what everything depends on.",
    {
        "Now": [
            one("Alerts that fire", 'count(ALERTS{alertstate="firing"}) or vector(0)', red=1),
            one("Web processes", 'count(paas_process{process="web"})'),
            one("Workers", 'count(paas_process{process="worker"})'),
            one("Runs in flight", "sum(paas_runs_active)"),
            one("Open websockets", "sum(paas_websockets_open)"),
            one("Active tenants", 'max(paas_tenants{status="active"})'),
        ],
        "Objectives": [
            objective("requests", "0.001"),
            objective("runs", "0.001"),
            objective("first_token", "0.05"),
            Panel(
                "Alerts",
                {"{{alertname}} {{severity}}": 'ALERTS{alertstate="firing"}'},
                only_when="an alert fires",
                text="docs/runbooks.md says what to do.",
                width=24,
            ),
        ],
        "Requests": [
            Panel(
                "Requests by class",
                {"{{route_class}}": rate("paas_http_requests_total", "route_class")},
                "reqps",
                stacked=True,
            ),
            Panel(
                "Requests by status", {"{{status}}": rate("paas_http_requests_total", "status")}, "reqps", stacked=True
            ),
            Panel(
                "Pages and API: how long",
                quantiles("paas_http_request_seconds", "route_class", of='{route_class=~"api|page"}'),
                "s",
                text="Streams last until their ends, so they are left out here.",
            ),
            Panel("Requests and beginning turns: at work, waiting", {"{{state}}": "sum by (state) (paas_requests)"}),
            Panel(
                "Runs in flight and waiting",
                {"in flight": "sum(paas_runs_active)", "waiting": "sum(paas_runs_waiting)"},
            ),
            Panel("Websockets", {"{{instance}}": "paas_websockets_open"}, stacked=True),
        ],
        "Processes": [
            Panel(
                "Processor",
                {"{{instance}}": 'rate(process_cpu_seconds_total{job="agent-paas"}[$__rate_interval])'},
                "percentunit",
            ),
            Panel("Memory", {"{{instance}}": 'process_resident_memory_bytes{job="agent-paas"}'}, "bytes"),
            Panel("Open files", {"{{instance}}": 'process_open_fds{job="agent-paas"}'}),
            Panel("Releases", {"{{process}} {{version}}": "count by (process, version) (paas_process)"}),
            Panel(
                "PostgreSQL and Redis answer", {"{{dependency}}": "min by (dependency) (paas_dependency_up)"}, at_most=1
            ),
            Panel(
                "Free part of the disk with the files",
                {"free": f"min({FREE} / ignoring (state) {SIZE})"},
                "percentunit",
                at_most=1,
            ),
        ],
    },
)

RUNS = Dashboard(
    "paas-runs",
    "Runs and models",
    "What agents do: how fast, how it ends, which models and tools are asked.",
    {
        "Runs": [
            Panel("Runs by outcome", {"{{outcome}}": rate("paas_runs_total", "outcome")}, "ops", stacked=True),
            Panel("Runs by door", {"{{door}}": rate("paas_runs_total", "door")}, "ops", stacked=True),
            Panel(
                "Failures by code",
                {"{{code}}": f"{rate('paas_run_failures_total', 'code')} > 0"},
                "ops",
                only_when="runs fail",
            ),
            Panel("First token", quantiles("paas_run_first_token_seconds"), "s", red=5),
            Panel(
                "Between two tokens",
                quantiles("paas_run_token_seconds"),
                "s",
                text="Mean of a run, of those that call no tools.",
            ),
            Panel("Whole runs", quantiles("paas_run_seconds"), "s"),
            Panel(
                "Turns refused",
                {"{{code}}": f"{rate('paas_turns_refused_total', 'code')} > 0"},
                "ops",
                only_when="turns are refused",
            ),
            Panel("Runs held", {"{{holder}}": "max by (holder) (paas_reservations_held)"}, stacked=True),
            Panel("The oldest of them", {"{{holder}}": "max by (holder) (paas_reservation_age_seconds)"}, "s"),
            Panel(
                "Events that stores are behind by",
                {"{{store}}": "max by (store) (paas_log_events_behind)"},
                text="Of the slowest log. PostgreSQL is behind by up to a second.",
            ),
        ],
        "Models": [
            Panel(
                "Calls of models",
                {"{{provider}} {{outcome}}": rate("paas_model_calls_total", "provider, outcome")},
                "ops",
                stacked=True,
            ),
            Panel(
                "Share of calls that failed",
                {"{{provider}}": f"{rate(FAILED_CALLS, 'provider')} / {rate(ANSWERED_CALLS, 'provider')}"},
                "percentunit",
                only_when="calls fail",
                at_most=1,
                red=0.2,
            ),
            Panel(
                "Models that are left alone",
                {"{{provider}} {{model}}": "sum by (provider, model) (paas_breaker_open)"},
                only_when="a vendor does not answer",
            ),
            Panel(
                "Tokens by model",
                {"{{provider}} {{model}}": rate("paas_tokens_total", "provider, model")},
                "cps",
                stacked=True,
            ),
            Panel("Tokens by kind", {"{{kind}}": rate("paas_tokens_total", "kind")}, "cps"),
        ],
        "Tools": [
            Panel(
                "Calls of tools",
                {"{{tool}} {{outcome}}": rate("paas_tool_calls_total", "tool, outcome")},
                "ops",
                stacked=True,
                width=12,
            ),
        ],
    },
)

TENANT = Dashboard(
    "paas-tenant",
    "Tenant",
    "One tenant's share. Metrics know a tenant by a digest of its id (docs/operations.md, Metrics); the first thousand "
    "of a process have their own, the others are `other`.",
    {
        "The chosen tenant": [
            Panel("Runs", {"runs": rate(RUNS_HERE)}, "ops"),
            Panel("Tokens", {"tokens": rate(TOKENS_HERE)}, "cps"),
            Panel(
                "Share of all tokens",
                {"share": f"{rate(TOKENS_HERE)} / {rate('paas_tenant_tokens_total')}"},
                "percentunit",
                at_most=1,
            ),
            one("Runs in the range shown", f"sum(increase({RUNS_HERE}[$__range]))", unit="locale"),
            one("Tokens in the range shown", f"sum(increase({TOKENS_HERE}[$__range]))", unit="locale"),
        ],
        "All tenants": [
            Panel(
                "Most runs in the range shown",
                {"{{tenant}}": most("paas_tenant_runs_total", "tenant")},
                "locale",
                "bargauge",
                width=12,
            ),
            Panel(
                "Most tokens in the range shown",
                {"{{tenant}}": most("paas_tenant_tokens_total", "tenant")},
                "locale",
                "bargauge",
                width=12,
            ),
            Panel("Tenants by status", {"{{status}}": "max by (status) (paas_tenants)"}, stacked=True, width=12),
        ],
    },
    tenant=True,
)

MONEY = Dashboard(
    "paas-money",
    "Money",
    "What is used, what it costs, what is refused, and whether the books are whole.",
    {
        "Cost": [
            Panel(
                "Cost in an hour",
                {"{{currency}}": f"{rate('paas_cost_total', 'currency')} * 3600"},
                text="Where there is a price. What vendors bill, before any margin.",
            ),
            Panel(
                "Cost in an hour by model",
                {"{{provider}} {{model}} {{currency}}": f"{rate('paas_cost_total', PRICED)} * 3600"},
                stacked=True,
            ),
            Panel(
                "Share of the input that vendors had cached",
                {"share": f"{rate(CACHED)} / {rate(INPUT)}"},
                "percentunit",
                only_when="a vendor reports cached tokens",
                at_most=1,
            ),
            Panel(
                "Dearest models in the range shown",
                {"{{provider}} {{model}} {{currency}}": most("paas_cost_total", PRICED)},
                kind="bargauge",
                width=12,
            ),
            Panel(
                "Most used models in the range shown",
                {"{{provider}} {{model}}": most("paas_tokens_total", "provider, model")},
                "locale",
                "bargauge",
                width=12,
            ),
        ],
        "Limits": [
            Panel(
                "Refused because of quotas and limits",
                {"{{code}}": rate(LIMITS, "code")},
                "ops",
                width=12,
            ),
            Panel("Runs that hold tokens", {"{{holder}}": "max by (holder) (paas_reservations_held)"}, width=12),
        ],
        "Books": [
            one("Broken ledgers", 'max(paas_chain_broken{chain="ledger"})', red=1),
            one("Broken audit logs", 'max(paas_chain_broken{chain="audit"})', red=1),
            one(
                "Ledgers verified before",
                'time() - max(paas_chain_verified_timestamp_seconds{chain="ledger"} > 0)',
                unit="s",
                red=10800,
                only_when=VERIFIED,
            ),
            one(
                "Audit logs verified before",
                'time() - max(paas_chain_verified_timestamp_seconds{chain="audit"} > 0)',
                unit="s",
                red=10800,
                only_when=VERIFIED,
            ),
            one(
                "Last backup before",
                "time() - max(paas_backup_last_success_timestamp_seconds > 0)",
                unit="s",
                red=93600,
                only_when="there is a backup",
            ),
            one(
                "Ledgers sealed before",
                'time() - max(paas_job_success_timestamp_seconds{task="usage.seal"})',
                unit="s",
                red=600,
            ),
        ],
    },
)

WORK = Dashboard(
    "paas-work",
    "Jobs and database",
    "Work behind the scenes: jobs, schedules, documents, PostgreSQL, traces.",
    {
        "Jobs": [
            Panel("Jobs by state", {"{{state}}": "max by (state) (paas_jobs)"}),
            Panel(
                "Waiting: the oldest that is due",
                {"jobs": "max(paas_jobs_waiting_seconds)", "schedules": "max(paas_schedules_late_seconds)"},
                "s",
            ),
            Panel("Jobs that ended", {"{{outcome}}": rate("paas_jobs_total", "outcome")}, "ops", stacked=True),
            Panel("By task", {"{{task}}": rate("paas_jobs_total", "task")}, "ops", width=12),
            Panel(
                "Failed by task",
                {"{{task}}": f"{rate(FAILED_JOBS, 'task')} > 0"},
                "ops",
                only_when="jobs fail",
                width=12,
            ),
        ],
        "Documents": [
            Panel("Documents by state", {"{{state}}": "max by (state) (paas_documents_stored)"}),
            Panel("The oldest that waits", {"waits": OLDEST}, "s"),
            Panel("Became searchable, or failed", {"{{outcome}}": rate("paas_documents_total", "outcome")}, "ops"),
            Panel("Steps: how long", quantiles("paas_document_step_seconds", "step"), "s"),
            Panel(
                "Batches sent to be embedded",
                {"{{outcome}}": rate("paas_document_embeddings_total", "outcome")},
                "ops",
                only_when="a base has a model for its vectors",
            ),
            Panel("Searches", {"searches": rate("paas_knowledge_search_seconds_count")}, "ops"),
            Panel("Searches: how long", quantiles("paas_knowledge_search_seconds"), "s"),
        ],
        "PostgreSQL": [
            Panel(
                "Pools",
                {"{{pool}} {{state}}": "sum by (pool, state) (paas_pool_connections)"},
                text="waiting: who waits for a connection.",
            ),
            Panel("Connections", {"{{state}}": "max by (state) (paas_database_connections)"}),
            Panel("Migrations to do", {"to do": "max(paas_migrations_missing)"}, red=1),
            Panel(
                "Read by a worker before", {"ago": "time() - max(paas_database_read_timestamp_seconds)"}, "s", red=120
            ),
        ],
        "Traces": [
            Panel(
                "Spans",
                {"{{outcome}}": rate("paas_spans_total", "outcome")},
                "ops",
                only_when="traces are sent to a collector",
            ),
        ],
    },
)


def boards() -> Iterator[Dashboard]:
    """All of them."""
    yield from (PLATFORM, RUNS, TENANT, MONEY, WORK)
