"""Caddy's and nginx's files ask for the same, and for what the platform needs (T13, P27)."""

from __future__ import annotations

import re

from django.conf import settings

from chat import http
from launch import receipt
from paas import certificates, health
from paas.bodies import most_of
from tests.deploy.files import DEPLOY, seconds

CADDY = "".join((DEPLOY / "caddy" / name).read_text() for name in ("platform.caddy", "Caddyfile"))
NGINX = "".join((DEPLOY / "nginx" / name).read_text() for name in ("agent-paas.conf", "agent-paas-proxy.conf"))


def of_caddy(name: str) -> str:
    found = re.search(rf"^\s*{name} (\S+)", CADDY, re.MULTILINE)
    assert found, name
    return found[1]


def of_nginx(name: str) -> str:
    found = re.search(rf"^\s*{name} (\S+);", NGINX, re.MULTILINE)
    assert found, name
    return found[1]


def test_half_a_request_is_not_waited_for() -> None:
    assert seconds(of_caddy("read_header")) == seconds(of_nginx("client_header_timeout")) == receipt.HEAD_SECONDS
    assert seconds(of_nginx("client_body_timeout")) <= 15
    assert seconds(of_nginx("send_timeout")) == receipt.WRITE_SECONDS
    # Caddy's limit on a body counts from its beginning and would end uploads and streams: the platform's own is used.
    assert "read_body" not in CADDY
    assert of_nginx("proxy_request_buffering") == "off"


def test_bodies_are_as_large_as_the_platform_takes_them() -> None:
    mebibyte = 1024 * 1024
    assert most_of("/api/v1/conversations/x/files") == 61 * mebibyte
    assert most_of("/api/v1/runs") == 5 * mebibyte
    assert 20 * mebibyte == settings.MAX_FILE_BYTES
    assert "{$UPLOAD_MAX:61MiB}" in CADDY
    assert "max_size 5MiB" in CADDY
    assert re.findall(r"client_max_body_size (\S+);", NGINX) == ["5m", "61m"]


def test_streams_go_through_as_they_come() -> None:
    assert of_caddy("flush_interval") == "-1"
    assert of_nginx("proxy_buffering") == "off"
    assert seconds(of_nginx("proxy_read_timeout")) > 2 * http.HEARTBEAT_SECONDS


def test_what_is_for_machines_is_shown_to_nobody_else() -> None:
    hidden = re.search(r"@inside path (.*)", CADDY)
    assert hidden
    patterns = hidden[1].split()
    for path in (certificates.PATH, *health.PATHS):
        if path == "/health":  # Phase 1's, for clients
            continue
        caddy = any(path == one or (one.endswith("/*") and path.startswith(one[:-1])) for one in patterns)
        nginx = path.startswith("/internal/") or re.match(r"^/(healthz|readyz)(/|$)", path)
        assert caddy, path
        assert nginx, path


def test_what_is_asked_is_served() -> None:
    assert of_caddy("health_uri") in health.PATHS
    assert certificates.PATH in of_caddy("ask")
    assert of_caddy("lb_policy") == "least_conn"
    assert of_nginx("proxy_next_upstream") == "error", "a POST is not sent twice"
