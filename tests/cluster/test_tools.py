"""What others' tools say of the files of a deployment: hadolint, the Compose specification, Kubernetes' schemas, nginx,
Caddy; and a process started from nothing but what gets into the image."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.processes import Process, environment
from launch.ports import free_port
from tests.cluster.installation import KEY, ROOT, Installation, until

DEPLOY = ROOT / "deploy"
TOOLS = Path(os.environ.get("DEPLOY_TOOLS") or ROOT / "var" / "deploy-tools")  # `.ci/run` installs tools.txt there
COMPOSE = """
import re, sys
import yaml
from compose_spec import PyCompose
text = yaml.safe_dump(yaml.safe_load(open(sys.argv[1])), sort_keys=False)  # with what is merged into each service
def value(found):
    name, _, default = found[1].partition(":-")
    return {"BASE_DOMAIN": "agents.example.com"}.get(name.partition(":?")[0], default)
while (filled := re.sub(r"\\$\\{([^${}]*)\\}", value, text)) != text:
    text = filled
made = PyCompose.from_yaml(text)
made.to_spec()
made.validate()
print(sorted(made.service_names()))
"""
IMPORTS = """
import importlib.metadata, re, sys
locked = {name.lower() for name in re.findall(r"^([A-Za-z0-9._-]+)==", open("requirements-server.txt").read(), re.M)}
ours = importlib.metadata.packages_distributions()
class OnlyLocked:
    def find_spec(self, name, path=None, target=None):
        owners = {owner.lower().replace("_", "-") for owner in ours.get(name, ())}
        if path is None and owners and not owners & locked:
            raise ModuleNotFoundError(f"{name} is of {owners}, which are not in the image")
sys.meta_path.insert(0, OnlyLocked())
import paas.asgi, launch.web, launch.probe
from django.core.management import get_commands, load_command_class
for name in ("work", "prepare", "migrate_all", "schema_status", "prove_isolation", "apply"):
    load_command_class(get_commands()[name], name)
from agents.runtime import graph
from core.documents import confined
print("whole")
"""


def run(*command: str | Path, **variables: str) -> str:
    """What it prints; it must succeed."""
    done = subprocess.run(
        [str(one) for one in command],
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_dockerfile() -> None:
    assert run(TOOLS / "bin" / "hadolint", ROOT / "Dockerfile") == ""


def test_compose() -> None:
    said = run(sys.executable, "-c", COMPOSE, ROOT / "compose.yaml", PYTHONPATH=str(TOOLS))
    assert "'web1', 'web2', 'worker'" in said


def test_the_manifests() -> None:
    files = [path for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) if path.name != "kustomization.yaml"]
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", *files]
    said = run(*command, PYTHONPATH=str(TOOLS))
    assert said.count("passed for resource") == len("".join(path.read_text() for path in files).split("\nkind:")) - 1
    if kubectl := shutil.which("kubectl"):  # what kustomize makes of them, with the scaling by runs
        made = run(kubectl, "kustomize", DEPLOY / "kubernetes")
        assert made.count("secretName: agent-paas\n") == 3


def test_nginx(tmp_path: Path) -> None:
    lines = (DEPLOY / "nginx" / "agent-paas.conf").read_text()
    lines = lines.replace("/etc/nginx/agent-paas-proxy.conf", str(DEPLOY / "nginx" / "agent-paas-proxy.conf"))
    lines = lines.replace("/etc/agent-paas/", f"{tmp_path}/")
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=agents.example.com"),
        *("-keyout", tmp_path / "privkey.pem", "-out", tmp_path / "fullchain.pem"),
    )
    whole = f"pid {tmp_path}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {lines} }}\n"
    (tmp_path / "nginx.conf").write_text(whole)
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "apt-get install nginx"
    assert "test is successful" in run(program, "-t", "-c", tmp_path / "nginx.conf")


def test_what_gets_into_the_image_is_enough(tmp_path: Path) -> None:
    """The tree that .dockerignore lets in, and no package but those of requirements-server.txt."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        source, target = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(source, target)
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        cwd=tmp_path,
        env=environment(
            DJANGO_SETTINGS_MODULE="paas.settings.types", PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1"
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "whole", done.stderr


@pytest.fixture
def tls(cluster: Installation, tmp_path: Path) -> Iterator[int]:
    """The port of the Caddyfile of compose.yaml in front of the cluster, with an authority of its own."""
    secure, plain, asked = free_port(), free_port(), free_port()
    lines = (DEPLOY / "caddy" / "Caddyfile").read_text().replace("8001", str(asked))
    own = f"local_certs\n\tskip_install_trust\n\thttp_port {plain}\n\thttps_port {secure}\n\tadmin off"
    lines = lines.replace("admin off", own).replace("import platform.caddy", f"import {DEPLOY}/caddy/platform.caddy")
    (tmp_path / "Caddyfile").write_text(lines)
    caddy = os.environ.get("CADDY") or shutil.which("caddy")
    assert caddy, "apt-get install caddy"
    upstreams = " ".join(f"127.0.0.1:{port}" for port in cluster.web_ports())
    process = Process(
        [caddy, "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"],
        environment(
            UPSTREAMS=upstreams, BASE_DOMAIN="localhost", ACME_EMAIL="operator@agents.example.com",
            XDG_DATA_HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path), HOME=str(tmp_path),
        ),
        tmp_path / "caddy.log",
    )  # fmt: skip
    try:
        until(lambda: certificate(secure, "acme.localhost"), "a certificate")
        yield secure
    finally:
        process.stop()


def certificate(port: int, host: str) -> bytes | None:
    """What is shown to a visitor of `host`; None when the handshake is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            return wrapped.getpeercert(binary_form=True)
    except OSError:
        return None


def test_certificates_are_ordered_for_hosts_of_ours_alone(cluster: Installation, tls: int) -> None:
    """`on_demand_tls` asks the platform; so nobody makes it order certificates for names of their own."""
    domain = "from tenants import scope; from tenants.models import Domain, Tenant\nwith scope.platform():\n    Domain.objects.create(domain='chat.acme.example', tenant=Tenant.objects.get(slug='acme'))"
    cluster.manage("shell", "--no-imports", "-v", "0", "-c", domain)
    assert certificate(tls, "chat.acme.example")
    assert certificate(tls, "localhost")
    for host in ("nobody.localhost", "evil.example", "chat.acme.example.evil.example"):
        assert certificate(tls, host) is None, host
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", tls), 10) as plain,
        context.wrap_socket(plain, server_hostname="chat.acme.example") as wrapped,
    ):
        head = f"GET /api/v1/me HTTP/1.1\r\nHost: chat.acme.example\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
        wrapped.sendall(head.encode())
        answer: Any = wrapped.recv(100)
    assert answer.startswith(b"HTTP/1.1 200")


def test_the_probe_finds_a_process_healthy(cluster: Installation) -> None:
    run(sys.executable, "-m", "launch.probe", f"http://127.0.0.1:{cluster.web_ports()[0]}/healthz")


pytestmark = pytest.mark.timeout(600)
