"""Real services, two tenants with their people, and a clean database for every test that asks for one."""

from __future__ import annotations

import gc
import importlib
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cleaning import Cleaner
from tests.contracts.sampling import sample
from tests.services import Services, shared_folder

_services: Services | None = None
_shared: Path | None = None  # the controller's, for its workers


def pytest_configure(config: pytest.Config) -> None:
    """Start the services and Django in every process that runs tests (not in xdist's controller)."""
    global _services, _shared
    gc.disable()  # until the imports are done: all of it stays
    worker = getattr(config, "workerinput", None)
    if getattr(config.option, "numprocesses", None) and worker is None:
        _shared = shared_folder()
        return
    _services = Services(Path(worker["shared"]) if worker else None)
    import django
    import hypothesis

    hypothesis.settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's affair
    hypothesis.settings.load_profile("untimed")

    django.setup()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist is about to start a worker."""
    node.workerinput["shared"] = str(_shared)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Workers that start with no bytecode make it together: each begins its imports somewhere else in the list.

    To rewrite the asserts of all test files takes seconds, and all workers need them all.
    """
    config = session.config
    worker = getattr(config, "workerinput", None)
    if worker is None or config.args != config.getini("testpaths"):
        return
    files = [path.relative_to(config.rootpath) for path in sorted((config.rootpath / "tests").rglob("test_*.py"))]
    names = [".".join(path.with_suffix("").parts) for path in files if not {"e2e", "cluster"} & set(path.parts)]
    first = int(worker["workerid"].removeprefix("gw")) * len(names) // worker["workercount"]
    for name in names[first:] + names[:first]:
        importlib.import_module(name)


# What takes long begins at once, a kind on each worker: those that wait leave the processors to the others. Before it
# what needs no database, for those who would wait until one of them has made it.
WITHOUT_DATABASE = ("tests/launch/", "tests/core/", "tests/architecture/", "tests/bench/")
LONG = (
    ("tests/launch/",),
    ("tests/core/", "tests/architecture/", "tests/attack/"),
    (
        "tests/bench/",
        "tests/chat/test_services_away.py",
        "tests/chat/test_chaos.py",
        "tests/tenants/test_erase.py",
    ),
    ("tests/tenants/test_leak_fuzz.py", "tests/tenants/test_tenancy_contract.py")
    # What loads LangChain (4 s) or a vendor's SDK does so in one worker.
    + (
        "tests/agents/test_graph.py",
        "tests/agents/test_team.py",
        "tests/chat/test_tools.py",
        "tests/chat/test_tracing.py",
        "tests/chat/test_team.py",
        "tests/chat/test_memory.py",
        "tests/chat/test_structured.py",
        "tests/chat/test_files.py",
        "tests/llm/test_chat_model.py",
        "tests/sdk/",
    ),
)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Before some are deselected, say what is too much for `make test`; then put LONG where each worker begins.

    xdist's worksteal gives every worker a stretch of the list.
    """
    sample(items)
    yield
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return
    workers = worker["workercount"]
    fronts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    rest = []
    for item in items:
        kind = next((number for number, paths in enumerate(LONG) if item.nodeid.startswith(paths)), None)
        (rest if kind is None else fronts[kind % workers]).append(item)
    stretch, before = -(-len(items) // workers), 0
    items.clear()
    for front in fronts:
        front.sort(key=lambda item: not item.nodeid.startswith(WITHOUT_DATABASE))
        more = max(0, stretch - len(front))
        items += front + rest[before : before + more]
        before += more
    items += rest[before:]


def pytest_collection_finish(session: pytest.Session) -> None:
    """What start-up made is not looked through again and again, as in the web process once it stands (paas/asgi.py)."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(400_000, 20, 50)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _services is not None:
        disconnect()
        _services.stop()
    if _shared is not None:
        shutil.rmtree(_shared, ignore_errors=True)


def disconnect() -> None:
    """Close this process's connections to PostgreSQL."""
    from django.db import connections

    connections.close_all()
    connections["default"].close_pool()


@pytest.fixture(scope="session")
def services() -> Services:
    assert _services is not None
    return _services


@dataclass(frozen=True)
class Platform:
    """The migrated database with `acme` and `globex`."""

    acme: Any
    globex: Any
    people: tuple[Any, ...]


def in_thread(work: Callable[[], Any]) -> Any:
    """The result of `work` from a thread of its own: ORM set-up that async tests may call directly."""
    from django.db import connections

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


PASSWORD = "correct-horse-battery"
CAST = {"owner": "owner", "admin": "admin", "member": "member", "viewer": "viewer"}


@pytest.fixture(scope="session")
def platform(services: Services) -> Platform:
    """Migrated once a run; tenants with the cast: owner, admin, member, viewer of acme, rival (owner of globex), and
    stranger, who is a person but no member anywhere."""
    from accounts.models import User
    from tenants import scope
    from tenants.models import Tenant

    services.fill(cast, disconnect)
    with scope.platform():
        refs = {tenant.slug: tenant.ref() for tenant in Tenant.objects.all()}
        return Platform(refs["acme"], refs["globex"], tuple(User.objects.values_list("pk", flat=True)))


def cast() -> None:
    """Fill an empty database; see `platform`."""
    from django.core.management import call_command

    from accounts.models import User
    from accounts.services import member_set
    from agents.services import agent_set
    from llm.services import provider_create
    from tenants import provisioning, scope
    from tenants.migrate import migrate_all
    from tenants.models import Plan

    call_command("init_database", verbosity=0)
    migrate_all(lambda line: None)
    with scope.platform():  # tests start many runs at once; those of the queue (tests/chat/test_queue.py) set their own
        Plan.objects.filter(slug="pro").update(max_concurrent_runs_per_user=None, max_concurrent_runs_per_key=None)
    for slug in ("acme", "globex"):
        tenant = provisioning.tenant_create(slug=slug, name=slug.title(), plan="pro")
        with scope.platform():
            people = CAST if slug == "acme" else {"rival": "owner"}
            for name, role in people.items():
                member_set(tenant=tenant, email=f"{name}@{slug}.test", role=role, password=PASSWORD, actor="test")
        with scope.bind(tenant.ref()):
            account = provider_create(actor="test", name="scripted", kind="scripted")
            agent_set(slug="assistant", provider=account, model="demo", actor="test", fields={"name": "Assistant"})
    with scope.platform():
        User.objects.create_user("stranger@nowhere.test", PASSWORD)


@pytest.fixture(scope="session")
def admin_url(services: Services) -> str:
    """The superuser's URL of the platform's database."""
    return services.postgres.url_for("paas", "postgres", "").replace(":@", "@")


@pytest.fixture(scope="session")
def cleaner(platform: Platform, services: Services) -> Iterator[Cleaner]:
    made = Cleaner(services, platform)
    made.clean()  # what setting up has written (audit rows) is for no test to find, not for the first one either
    yield made
    made.close()


@pytest.fixture
def db(platform: Platform, cleaner: Cleaner) -> Iterator[Platform]:
    """The platform, emptied afterwards of what a test wrote (the cast and the agents `assistant` stay)."""
    yield platform
    cleaner.clean()
    forget_caches()


def forget_caches() -> None:
    """Empty what processes remember for two seconds, and who waits: each test has an event loop of its own."""
    from accounts import keys, rate_gate, throttle, tokens
    from agents import access
    from tenants import gate, ratelimit, resolve
    from usage import prices

    gate.of_process = gate.Gate(gate.of_process.patience)
    if (asgi := sys.modules.get("paas.asgi")) is not None:
        asgi.gated.gate = gate.of_process

    prices.forget_all()
    keys.forget_all()
    tokens.forget_all()
    throttle.forget_all()
    rate_gate.forget_all()
    access.forget_all()
    resolve.forget_all()
    ratelimit.forget_all()


@pytest.fixture
def acme(db: Platform) -> Any:
    return db.acme


@pytest.fixture
def globex(db: Platform) -> Any:
    return db.globex


@pytest.fixture
def actor(db: Platform) -> Callable[[str], Any]:
    """`actor("member")`: one of the cast as an Actor; "rival" is globex's owner."""

    def find(name: str) -> Any:
        from accounts.models import User
        from accounts.selectors import actor_of_user
        from tenants import scope

        tenant = db.globex if name == "rival" else db.acme

        def load() -> Any:
            with scope.bind(tenant):
                return actor_of_user(User.objects.get(email=f"{name}@{tenant.slug}.test").id)

        found = in_thread(load)
        assert found is not None
        return found

    return find


@pytest.fixture
def api_key(db: Platform) -> Callable[..., str]:
    """`api_key("acme", ["*"])`: a fresh key's token."""

    def make(slug: str = "acme", scopes: list[str] | None = None, **fields: Any) -> str:
        from accounts.keys import key_create
        from tenants import scope

        def create() -> str:
            with scope.bind(getattr(db, slug)):
                return key_create(**{"name": f"key-{slug}"} | fields, scopes=scopes or ["*"], actor="test")[1]

        return str(in_thread(create))

    return make


@pytest.fixture
async def host(db: Platform) -> AsyncIterator[Any]:
    """An open host on the test's event loop: turns can be started and followed directly."""
    from chat import host as hosts

    async with hosts.opened(drain_seconds=2) as opened:
        yield opened


@pytest.fixture
async def site(db: Platform) -> AsyncIterator[Any]:
    """The real web server on a free port of loopback, in the test's event loop; see tests/site.py."""
    from tests.site import Site

    async with Site() as running:
        yield running


@pytest.fixture
def rates_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The classes of requests that a streaming door has counted, one after the other."""
    from accounts import rates

    asked, real = list[str](), rates.admit

    async def admit(actor: Any, rate_class: str) -> Any:
        asked.append(rate_class)
        return await real(actor, rate_class)

    monkeypatch.setattr(rates, "admit", admit)
    return asked


@pytest.fixture
def long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process remembers for a second or two, it remembers for the whole test: for a matrix that asks a thousand
    times and takes nobody's rights away. (That they end in time is said by tests of keys, sessions and tenants.)"""
    from accounts import keys, sessions, tokens
    from tenants import resolve

    for known in (keys._known, tokens._known, resolve._hosts):
        monkeypatch.setattr(known, "seconds", 600.0)
    monkeypatch.setattr(sessions, "CACHED_SECONDS", 600)


# What writes an audit row that tells of nothing else in the database, or of what the framework stores on its own:
# reading (exports, backups), a proof that was refused, a session, which the middleware stores behind the view.
ROWS_ALONE = frozenset(
    {
        "accounts.admin_audit.export",
        "accounts.audit_api.get",
        "accounts.second_factor.refused",
        "accounts.sign_in.session_begin",
        "llm.services.provider_test",
        "paas.backup.make",
    }
)


@pytest.fixture(autouse=True)
def _audit_rows_share_a_transaction(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """T26: whatever a test does, an act and its audit row are in one transaction; neither is there without the other."""
    from django.db import connection

    from accounts import audit

    write, alone = audit.record, set[str]()

    def watched(action: str, *, actor: str, **fields: Any) -> None:
        caller: Any = sys._getframe(1)
        name = f"{caller.f_globals['__name__']}.{caller.f_code.co_name}"
        ours = name.partition(".")[0] not in ("tests", "bench")
        if ours and actor != audit.NOBODY and not connection.in_atomic_block and name not in ROWS_ALONE:
            alone.add(name)
        write(action, actor=actor, **fields)

    monkeypatch.setattr(audit, "record", watched)
    yield
    assert not alone, f"these write audit rows outside the transaction of what they tell of: {sorted(alone)}"


@pytest.fixture(autouse=True)
def _scripts_are_used_up() -> Iterator[None]:
    """A script that no call took would answer the next test's question."""
    yield
    from llm import breaker
    from llm.providers.scripted import ScriptedModel

    breaker.forget()  # and vendors that failed are asked again

    ScriptedModel.reset()
