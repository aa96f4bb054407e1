"""What a person reads when everything is up: addresses and logins."""

import re
from dataclasses import dataclass

from launch.console import Console
from launch.settings import DEMO, Settings


@dataclass(frozen=True)
class Login:
    """One account of the demo; `tenant` is empty for the operator."""

    tenant: str
    email: str
    password: str


def demo_logins(text: str) -> list[Login]:
    """The logins in the demo file, in its order. It is ours, and written one account a line."""
    logins = []
    tenant = ""
    for line in text.splitlines():
        if found := re.match(r"\s*- \{?slug: ([a-z0-9-]+), name: [^,]+, plan:", line):
            tenant = found[1]
        if line.startswith("operators:"):
            tenant = ""
        if found := re.search(r"email: ([^,\s]+),.*password: \"([^\"]+)\"", line):
            logins.append(Login(tenant, found[1], found[2]))
    return logins


def ready(settings: Settings, console: Console, trouble: str) -> str:
    """The block at the end of a start; `trouble` is what is not well, empty when all is."""
    logins = demo_logins(DEMO.read_text()) if settings.demo else []
    rows = []
    for login in logins:
        host = f"{login.tenant}.{settings.base_domain}" if login.tenant else settings.base_domain
        page = "/" if login.tenant else "/admin/"
        rows.append((f"http://{host}:{settings.port}{page}", login.email, login.password))
    if not rows:
        rows = [(f"http://{settings.base_domain}:{settings.port}/admin/", "", "")]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "",
        console.strong("Agent PaaS is ready." if not trouble else f"Agent PaaS is up, but not well: {trouble}"),
        "",
    ]
    for address, email, password in rows:
        lines.append(f"  {console.strong(address.ljust(widths[0]))}  {email.ljust(widths[1])}  {password}".rstrip())
    if ports := settings.metrics_ports:
        told = "  ".join(f"{name} http://127.0.0.1:{port}/metrics" for name, port in ports.items())
        lines += ["", f"Metrics: {told}"]
    lines += ["", f"Data and logs: {settings.var}   Stop: Ctrl-C", ""]
    return "\n".join(lines)
