"""`make cluster`: several web processes and workers behind a proxy, as on several machines, on loopback without TLS.

Each web process has a socket of its own, which is gone while the process is; so it is the proxy that keeps visitors
from noticing, as it is in production.
"""

import os
import shutil
import socket
from collections.abc import Mapping

from launch.child import Part
from launch.errors import LaunchError
from launch.layout import Layout
from launch.parts import Parts, answers
from launch.ports import free_port
from launch.settings import ROOT, Settings
from launch.spawn import Command, plain_environment

CONFIGURATION = ROOT / "deploy" / "caddy" / "cluster.caddy"


class ClusterParts(Parts):
    """The parts of `make run`, several of each, and Caddy in front of the web processes."""

    def __init__(self, settings: Settings, layout: Layout, environment: Mapping[str, str]) -> None:
        self._caddy = _program(environment)
        super().__init__(settings, layout, environment)
        self.shares_sockets = False
        self._ports = {name: free_port() for name in settings.web_names}

    def web(self, sockets: list[socket.socket]) -> list[Part]:
        """The web processes, each on a port of its own."""
        return [self._web_part(name, ["--port", str(port)], port) for name, port in self._ports.items()]

    def proxy(self) -> Part:
        """Caddy, on the platform's port."""
        upstreams = " ".join(f"127.0.0.1:{port}" for port in self._ports.values())
        environment = plain_environment(
            PORT=str(self._settings.port),
            UPSTREAMS=upstreams,
            XDG_DATA_HOME=str(self.layout.run / "caddy"),
            XDG_CONFIG_HOME=str(self.layout.run / "caddy"),
        )
        argv = [self._caddy, "run", "--config", str(CONFIGURATION), "--adapter", "caddyfile"]
        return Part(
            "proxy",
            "The proxy",
            lambda: Command(argv, ROOT, environment),
            # `/` of the platform's host, through the proxy; /healthz is none of its visitors'.
            ready=lambda: answers(self._settings.port, "/static/portal/portal.css"),
            shows=lambda line: '"level":"error"' in line or line.startswith("Error"),
        )

    @property
    def ready_port(self) -> int:
        return next(iter(self._ports.values()))


def _program(environment: Mapping[str, str]) -> str:
    found = environment.get("CADDY") or shutil.which("caddy")
    if not found or not os.access(found, os.X_OK):
        raise LaunchError(
            "`make cluster` needs the proxy Caddy (2.6 or newer). Debian and Ubuntu: `apt-get install caddy`. "
            "If it is somewhere else, give its path: CADDY=/path/to/caddy make cluster"
        )
    return found
