"""Brings everything up in the right order, keeps it up, and takes it down in the right order."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping

from launch import report
from launch.child import Child, Part
from launch.console import Console
from launch.errors import LaunchError
from launch.layout import Layout, full_disk, is_full
from launch.parts import Parts, get
from launch.ports import open_sockets
from launch.processes import Lock, Roster
from launch.settings import Settings

_READY_SECONDS = 60
_LEFTOVER_SECONDS = 20
_DISK_SECONDS = 5
REPLACE = signal.SIGUSR1  # what tells it to replace web processes and workers


class Supervisor:
    """One start of everything: `await run()` returns the exit code when all of it has stopped.

    Made inside a running event loop, in the main thread.
    """

    def __init__(
        self,
        settings: Settings,
        console: Console,
        environment: Mapping[str, str],
        make_parts: Callable[[Settings, Layout, Mapping[str, str]], Parts] = Parts,
    ) -> None:
        self._settings = settings
        self._make_parts = make_parts
        self._console = console
        self._environment = environment
        self._layout = Layout(settings.var)
        self._lock = Lock(self._layout.run / "supervisor.lock")
        self._roster = Roster(self._layout.run / "processes.json")
        self._sockets: list[socket.socket] = []
        self._children: dict[str, Child] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._signals = 0
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._complete = False
        self._replacing: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Everything, until a signal comes or an essential part cannot be kept up."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
                asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        asyncio.get_running_loop().add_signal_handler(REPLACE, self._on_replace)
        code = 0
        try:
            await self._until_stopped(self._bring_up(self._take_place()))
            await self._until_stopped(self._watch_disk())
        except (LaunchError, OSError) as error:
            code = 1
            self._console.failure(self._explain(error))
        await self._bring_down()
        return code

    def _on_signal(self) -> None:
        self._signals += 1
        if self._signals == 1:
            self._stop.set()
        else:
            self._hurry.set()

    def _on_replace(self) -> None:
        if self._replacing is None or self._replacing.done():
            self._replacing = asyncio.create_task(self._replace_all())

    async def _replace_all(self) -> None:
        """Web processes and workers, one after the other: a new release's code, while everybody is served."""
        names = [name for name in self._children if name.startswith(("web", "worker"))]
        if not self._complete:
            self._console.say("Not everything stands yet, so nothing is replaced.")
            return
        for name in names:
            child, life = self._children[name], self._lives[name]
            self._console.step(f"{child.part.title} is being replaced.")
            replacing = asyncio.ensure_future(child.replace())
            await asyncio.wait({replacing, life}, return_when=asyncio.FIRST_COMPLETED)
            if life.done():  # it was given up, or everything stops
                replacing.cancel()
                return
        self._console.say(f"{', '.join(names)} have been replaced.")

    async def _until_stopped(self, work: Coroutine[object, object, object]) -> None:
        """Do some work until its end, the failure of an essential part (raised), or the wish to stop."""
        task: asyncio.Future[object] = asyncio.ensure_future(work)
        stopped: asyncio.Future[object] = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({task, stopped, self._failed}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        elif not self._stop.is_set():
            task.result()
        if self._failed.done():
            self._failed.result()

    def _take_place(self) -> Parts:
        """Everything that can be refused before anything is started."""
        self._layout.make()
        self._lock.take(self._settings.port)
        self._console.log_to(self._layout.log)
        leftovers = self._roster.leftovers()
        if leftovers:
            names = ", ".join(leftovers)
            self._console.step(f"An earlier start was killed and left processes behind: {names}. Stopping them.")
        # PostgreSQL last: the others may still be writing.
        for name, identity in sorted(leftovers.items(), key=lambda entry: entry[0] == "postgres"):
            identity.stop(signal.SIGINT if name == "postgres" else signal.SIGTERM, _LEFTOVER_SECONDS)
        self._roster.clear()
        self._layout.sweep()
        parts = self._make_parts(self._settings, self._layout, self._environment)
        self._sockets = open_sockets(self._settings.port)
        if not parts.shares_sockets:  # it was only to be seen that the port is free
            self._close_sockets()
        return parts

    async def _bring_up(self, parts: Parts) -> None:
        self._console.step("Starting PostgreSQL, Redis and the local model.")
        first = [self._start(part) for part in (parts.postgres(), parts.redis()) if part is not None]
        model_part = parts.model()
        model = None if model_part is None else self._start(model_part)
        self._write_services(parts.services())
        for child in first:
            await self._until_ready(child)
        web = [self._start(part) for part in parts.web(self._sockets)]
        preparing = Child(parts.prepare(), self._console, self._roster)
        self._children["prepare"] = preparing
        seconds = await preparing.once()
        parts.prepared = True
        self._console.step(f"The database is prepared ({seconds:.1f} s).")
        for part in parts.workers():
            self._start(part)
        front = parts.proxy()
        fronts = [] if front is None else [self._start(front)]
        for child in [*web, *fronts, *([] if model is None else [model])]:
            await self._until_ready(child)
        trouble = await self._until_platform_is_ready(parts.ready_port)
        self._complete = True
        self._console.say(report.ready(self._settings, self._console, trouble))

    def _start(self, part: Part) -> Child:
        child = Child(part, self._console, self._roster)
        self._children[part.name] = child
        life = asyncio.create_task(child.keep())
        self._lives[part.name] = life
        life.add_done_callback(lambda task: self._on_end(child, task))
        return child

    def _on_end(self, child: Child, life: "asyncio.Task[None]") -> None:
        if life.cancelled() or life.exception() is None:
            return
        error = life.exception()
        if child.part.essential:
            if error is not None and not self._failed.done():
                self._failed.set_exception(error)
        elif isinstance(error, LaunchError | OSError):
            self._console.failure(self._explain(error))
        elif error is not None:
            raise error

    async def _until_ready(self, child: Child) -> None:
        """Return when the child is ready, or when an inessential one has given up."""
        waiting = asyncio.create_task(child.until_ready())
        life = self._lives[child.part.name]
        await asyncio.wait({waiting, life}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if child.ready_seconds is not None:
            self._console.step(f"{child.part.title} is ready ({child.ready_seconds:.1f} s).")

    async def _until_platform_is_ready(self, port: int) -> str:
        """Wait for /readyz; empty when all is well, else what is not."""
        deadline = time.monotonic() + _READY_SECONDS
        trouble = "it does not answer"
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError):
                status, body = await asyncio.wait_for(get(port, "/readyz"), 5)
                if status == 200:
                    return ""
                checks = json.loads(body).get("checks", {})
                trouble = ", ".join(f"{name}: {state}" for name, state in checks.items() if state != "ok")
                if self._only_lost_parts(checks):
                    return trouble
            await asyncio.sleep(0.1)
        return trouble

    def _only_lost_parts(self, checks: Mapping[str, str]) -> bool:
        """Whether all that is wrong is a part that has been given up: waiting would not help."""
        wrong = {name for name, state in checks.items() if state != "ok"}
        return bool(wrong) and all(name in self._lives and self._lives[name].done() for name in wrong)

    async def _watch_disk(self) -> None:
        """Say when the disk runs full, and when it no longer is, for as long as everything runs."""
        was_full = False
        while True:
            full = is_full(self._settings.var)
            if full and not was_full:
                self._console.failure(LaunchError(full_disk(self._settings.var)))
            if was_full and not full:
                self._console.step("There is room on the disk again.")
            was_full = full
            await asyncio.sleep(_DISK_SECONDS)

    def _write_services(self, services: Mapping[str, str]) -> None:
        path = self._layout.services_file
        unfinished = path.with_suffix(".unfinished")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("".join(f"{name}={value}\n" for name, value in services.items()))
        unfinished.rename(path)

    async def _bring_down(self) -> None:
        """Web first, so that answers under way can be finished; PostgreSQL last."""
        started = time.monotonic()
        if any(child.running for child in self._children.values()):
            again = " (Ctrl-C again stops at once)" if self._signals else ""
            self._console.say(f"\nStopping{again}.")
        if self._replacing is not None:
            self._replacing.cancel()
        self._close_sockets()
        orderly = asyncio.create_task(self._stop_in_order())
        hurried = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({orderly, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not orderly.done():
            orderly.cancel()
            await self._stop_at_once()
            self._console.say("Everything was stopped at once.")
        elif self._children:
            orderly.result()
            self._console.say(f"Everything has stopped ({time.monotonic() - started:.1f} s).")
        self._tidy()

    def _close_sockets(self) -> None:
        for listener in self._sockets:
            listener.close()
        self._sockets = []

    async def _stop_in_order(self) -> None:
        webs = [name for name in self._children if name.startswith("web")]
        workers = [name for name in self._children if name.startswith("worker")]
        for group in (["prepare", *webs], ["proxy", *workers], ["model", "redis"], ["postgres"]):
            children = [self._children[name] for name in group if name in self._children]
            await asyncio.gather(*(child.stop() for child in children))
            # Each ends by itself now; one that is just making its database finishes that first.
            lives = [self._lives[name] for name in group if name in self._lives]
            if lives:
                await asyncio.wait(lives)

    async def _stop_at_once(self) -> None:
        for name, child in self._children.items():
            if name != "postgres":
                await child.kill()
        if "postgres" in self._children:
            await self._children["postgres"].abort()

    def _tidy(self) -> None:
        if self._lock.held:
            self._layout.sweep()
            self._roster.clear()
        self._console.close()
        self._lock.release()

    def _explain(self, error: LaunchError | OSError) -> LaunchError:
        """The sentence for a failure; a full disk explains whatever else went wrong."""
        details = error.details if isinstance(error, LaunchError) else [str(error)]
        if is_full(self._settings.var) or getattr(error, "errno", None) == errno.ENOSPC:
            return LaunchError(full_disk(self._settings.var), details)
        if isinstance(error, LaunchError):
            return error
        return LaunchError(f"The machine refused: {error.strerror or error}.", details)
