"""A platform of its own with many tenants, as a child process of `bench.schemas`.

It builds its tenants, serves them, and then does what it reads from its standard input, a word a line; it answers
with one line of JSON each, and ends with its input. Its services live in a folder that goes away.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from bench.leaks.services import own_services
from bench.processes import ROOT, Process, answers, free_port

KILLS = 5
CREATIONS = 60


def main() -> None:
    number = int(sys.argv[1])
    answers_to, sys.stdout = sys.stdout, sys.stderr  # what services print is no answer
    with own_services(durable=True) as folder:
        os.environ |= {"DATABASE_LOGIN": "owner", "STATEMENT_TIMEOUT_MS": "0"}
        crowd = Crowd(folder, number)
        with contextlib.closing(crowd):
            words: dict[str, Callable[[], dict[str, Any]]] = {
                "serve": crowd.serve, "create": crowd.create, "migrate": crowd.migrate,
            }  # fmt: skip
            for line in sys.stdin:
                said = words[line.strip()]()
                print(orjson.dumps(said).decode(), file=answers_to, flush=True)


@contextlib.contextmanager
def stage(tenants: int) -> Iterator[tuple[int, list[Any]]]:
    """A platform of its own with so many tenants, served: (port, the tenants as `bench.leaks.world` has them)."""
    with own_services(durable=True) as folder:
        os.environ |= {"DATABASE_LOGIN": "owner", "STATEMENT_TIMEOUT_MS": "0"}
        with contextlib.closing(Crowd(folder, tenants)) as crowd:
            port = int(crowd.serve()["port"])
            yield port, crowd.customers


class Crowd:
    """The tenants and what is measured on them."""

    def __init__(self, folder: Path, number: int) -> None:
        import django

        django.setup()
        from django.core.management import call_command

        from tenants.migrate import migrate_all

        self.folder, self.number = folder, number
        self.web: Process | None = None
        self.customers: list[Any] = []
        call_command("init_database", verbosity=0, stdout=sys.stderr)
        migrate_all(lambda line: None)

    def close(self) -> None:
        """End what was started."""
        if self.web is not None:
            self.web.stop()

    def serve(self) -> dict[str, Any]:
        """Make the tenants and serve them: the port, the web process, each one's host, session and key; seconds each
        creation took."""
        from bench.leaks import world
        from tenants import provisioning

        plain, seconds = provisioning.tenant_create, []

        def timed(**fields: Any) -> Any:
            started = time.perf_counter()
            try:
                return plain(**fields)
            finally:
                seconds.append(time.perf_counter() - started)

        provisioning.tenant_create = timed
        try:
            self.customers = world.make(self.number).customers
        finally:
            provisioning.tenant_create = plain
        port = free_port()
        environment = {**os.environ, "DATABASE_LOGIN": "app", "STATEMENT_TIMEOUT_MS": "5000"}
        argv = [sys.executable, "-m", "uvicorn", "paas.asgi:application", "--host", "127.0.0.1", "--port", str(port)]
        self.web = Process(
            [*argv, "--log-level", "warning", "--no-proxy-headers", "--ws", "websockets-sansio"],
            environment,
            self.folder / "web.log",
        )
        self.web.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 60)
        who = [[one.host, one.session] for one in self.customers]
        tokens = [one.token for one in self.customers]
        return {"port": port, "web": self.web.pid, "who": who, "tokens": tokens, "seconds": seconds}

    def create(self) -> dict[str, Any]:
        """T22: seconds from the request until people are let in, as page and worker do it; then, with creations that
        are killed at random moments, what is left over and what a retry makes of it."""
        from django.db import connections

        from accounts import tenant_life

        seconds = []
        for number in range(CREATIONS):
            started = time.perf_counter()
            tenant = tenant_life.tenant_request(slug=f"bench-{number:04}", name="Bench", actor="bench", careful=False)
            assert tenant_life.tenant_build(tenant.id)
            seconds.append(time.perf_counter() - started)
        connections.close_all()
        for kill in range(KILLS):
            child = subprocess.Popen([sys.executable, "-m", "bench.crowd", "--create", str(kill)], cwd=ROOT)
            time.sleep(random.uniform(2.5, 5.0))  # it needs some of this to start
            child.kill()
            child.wait()
        time.sleep(1.0)  # for PostgreSQL to notice and take back what was not finished
        left = _orphans()
        again = tenant_life.tenants_resume() if left["waiting"] else 0
        return {"seconds": seconds, "killed": KILLS, "orphans": left, "taken up again": again}

    def migrate(self) -> dict[str, Any]:
        """T21: nothing to do; an additive migration that is killed five times; nothing to do again; all alike."""
        if self.web is not None:
            self.web.stop()
        from django.db import connection, connections

        from tenants import catalog, migrate, scope

        connections.close_all()
        before = _migrated(None)
        schemas = migrate.tenant_schemas()
        share = len(schemas) // (KILLS + 2)
        stretches = [_migrated(after) for after in sorted(random.sample(range(1, share * 2 + 2), KILLS))]
        stretches.append(_migrated(None))
        after = _migrated(None)
        with scope.owner(), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_class WHERE relname = 'additive_message_note'")
            (indexes,) = cursor.fetchone()
            drift = catalog.drift(connection.connection, schemas)
        return {
            "schemas": len(schemas),
            "nothing to do": [before["seconds"], after["seconds"]],
            "stretches": stretches,
            "with the column": indexes - 1,  # the template has it too
            "drift": [list(one) for one in drift[:5]],
        }


def _migrated(kill_after: int | None) -> dict[str, Any]:
    """`manage.py migrate_all` in a process of its own; kill -9 once it has begun that many tenants' schemas."""
    settings = "paas.settings.dev" if kill_after is None and not _migrated.later else "bench.additive.settings"  # type: ignore[attr-defined]
    _migrated.later = True  # type: ignore[attr-defined]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": settings, "PYTHONUNBUFFERED": "1"}
    started, begun = time.perf_counter(), 0
    with subprocess.Popen(
        [sys.executable, "manage.py", "migrate_all"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            begun += "migrating t_" in line and "template" not in line
            if kill_after is not None and begun >= kill_after:
                time.sleep(random.uniform(0.0, 0.05))  # somewhere in the middle of it
                child.kill()
                break
    return {"seconds": round(time.perf_counter() - started, 2), "begun": begun, "killed": kill_after is not None}


_migrated.later = False  # type: ignore[attr-defined]


def _orphans() -> dict[str, int]:
    """Roles and schemas without a tenant, tenants that are let in without a schema, and those that still wait."""
    from django.db import connection

    from tenants import scope

    with scope.owner(), connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT count(*) FROM pg_roles WHERE rolname ~ '^t_[0-9a-f]{32}$'
                      AND rolname NOT IN (SELECT schema_name FROM public.tenants_tenant)),
                   (SELECT count(*) FROM pg_namespace WHERE nspname ~ '^t_[0-9a-f]{32}$'
                      AND nspname NOT IN (SELECT schema_name FROM public.tenants_tenant)),
                   (SELECT count(*) FROM public.tenants_tenant WHERE status = 'active'
                      AND to_regnamespace(schema_name) IS NULL),
                   (SELECT count(*) FROM public.tenants_tenant WHERE status = 'creating')
            """
        )
        roles, schemas, hollow, waiting = cursor.fetchone()
    return {"roles": roles, "schemas": schemas, "without a schema": hollow, "waiting": waiting}


def create_until_killed(number: str) -> None:
    """Make tenants, one after the other."""
    import django

    django.setup()
    from accounts import tenant_life

    for count in range(200):
        slug = f"killed-{number}-{count:04}"
        tenant_life.tenant_build(tenant_life.tenant_request(slug=slug, name="K", actor="bench", careful=False).id)


if __name__ == "__main__":
    if sys.argv[1] == "--create":
        create_until_killed(sys.argv[2])
    else:
        main()
