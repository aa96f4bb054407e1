"""What a process counts for Prometheus. Rooms record here; paas/telemetry.py serves it.

Every label has few values, whatever tenants call their things: names that they choose are told apart only up to a
bound, or not at all (P62). A tenant is told by a digest of its id, in two counters.
"""

from __future__ import annotations

import hashlib
import uuid
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)  # its memory, processor time and files

OTHER = "other"
MOST_TENANTS = 1_000
MOST_MODELS = 50
MOST_TOOLS = 20
FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30)
TOKEN_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
RUN_BUCKETS = (0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
INGEST_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Bounded:
    """Tells at most `most` values apart; the others are `other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[Any] = set()

    def admits(self, value: Any) -> bool:
        """Whether the value is one of those that are told apart."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return False
            self._known.add(value)
        return True


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


REQUESTS = _counter("paas_http_requests_total", "Requests over HTTP.", "route_class", "status")
REQUEST_SECONDS = _histogram(
    "paas_http_request_seconds", "Until a request's answer has ended; streams included.", REQUEST_BUCKETS, "route_class"
)
REFUSALS = _counter("paas_turns_refused_total", "Turns that were refused, by the error's code.", "code")
RUNS = _counter("paas_runs_total", "Runs that have ended here.", "door", "outcome")
RUN_FAILURES = _counter("paas_run_failures_total", "Runs that have failed here, by the error's code.", "code")
FIRST_TOKEN = _histogram(
    "paas_run_first_token_seconds", "From the turn's start to the first token.", FIRST_TOKEN_BUCKETS, "door"
)
TOKEN_SECONDS = _histogram(
    "paas_run_token_seconds", "Mean time between two tokens of a run that calls no tools.", TOKEN_BUCKETS, "door"
)
RUN_SECONDS = _histogram("paas_run_seconds", "From the turn's start to the run's end.", RUN_BUCKETS, "door")
TOKENS = _counter("paas_tokens_total", "Tokens that runs used.", "provider", "model", "kind")
COST = _counter("paas_cost_total", "What runs cost, where there is a price.", "provider", "model", "currency")
TENANT_RUNS = _counter("paas_tenant_runs_total", "Runs that have ended here, by tenant.", "tenant")
TENANT_TOKENS = _counter("paas_tenant_tokens_total", "Tokens that runs used, by tenant.", "tenant")
MODEL_CALLS = _counter(
    "paas_model_calls_total", "Calls of models: done, left, breaker_open, or the error's code.", "provider", "outcome"
)
TOOL_CALLS = _counter("paas_tool_calls_total", "Calls of agents' tools.", "tool", "outcome")
JOBS = _counter("paas_jobs_total", "Background jobs that have ended here.", "task", "outcome")
JOB_DONE = _gauge("paas_job_success_timestamp_seconds", "When a background job was last done here.", "task")
SPANS = _counter("paas_spans_total", "Spans of traces: sent, lost.", "outcome")
DOCUMENTS = _counter("paas_documents_total", "Documents that were made searchable here, or failed.", "outcome")
INGEST_SECONDS = _histogram("paas_document_step_seconds", "How long a step of that took.", INGEST_BUCKETS, "step")
SEARCH_SECONDS = _histogram(
    "paas_knowledge_search_seconds", "A search's statement, without the question's vector.", REQUEST_BUCKETS
)
EMBEDDING_CALLS = _counter("paas_document_embeddings_total", "Batches of passages sent to be embedded.", "outcome")
# Of all tenants, as the worker found them that looked last, once a minute.
DOCUMENTS_STORED = _gauge("paas_documents_stored", "Documents of all tenants by state.", "state")
DOCUMENTS_AGE = _gauge("paas_documents_waiting_seconds", "For how long the oldest of those that wait has waited.")
DOCUMENTS_READ = _gauge("paas_documents_read_timestamp_seconds", "When this worker counted them last; 0: never.")

_tenants, _models, _currencies, _tools = Bounded(MOST_TENANTS), Bounded(MOST_MODELS), Bounded(8), Bounded(MOST_TOOLS)


@cache
def digest_of(tenant_id: uuid.UUID) -> str:
    """How metrics name a tenant: the first 12 digits of the SHA-256 of its id as text."""
    return hashlib.sha256(str(tenant_id).encode()).hexdigest()[:12]


def tenant_label(tenant_id: uuid.UUID) -> str:
    """`digest_of`, for the first MOST_TENANTS of this process."""
    return digest_of(tenant_id) if _tenants.admits(tenant_id) else OTHER


def model_labels(provider: str, model: str) -> tuple[str, str]:
    """(provider, model) for the first MOST_MODELS of this process. provider: a kind, of which there are few."""
    return (provider, model) if _models.admits((provider, model)) else (provider, OTHER)


def currency_label(currency: str) -> str:
    """A currency, for the first few."""
    return currency if _currencies.admits(currency) else OTHER


def tool_label(name: str) -> str:
    """A tool of the platform's own, or what kind of tool it is."""
    return name if _tools.admits(name) else OTHER
