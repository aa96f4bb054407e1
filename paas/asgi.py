"""The ASGI application: host -> tenant, then the streaming doors, websockets, or Django.

One process is this plus its lifespan: the hot database pool and the host that executes runs.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
from contextlib import AsyncExitStack
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paas.settings.dev")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.routing import URLRouter
from django.urls import path

from accounts import key_use, rate_gate, sign_in_gate
from chat import host
from chat.http import HttpRequest
from chat.transports import approvals, knowledge, mcp, openai, phase1, responses, sse
from chat.transports.websocket import ChatSocket
from core.errors import PaasError
from paas import certificates, health, telemetry
from paas.answered import Answered
from paas.bodies import BoundedBodies
from paas.gate import Gated, whose
from paas.headers import SecureHeaders
from paas.middleware import keep_on_the_loop
from paas.observed import Observed
from paas.static_files import serve_static
from paas.turned_away import TurnedAway
from tenants import gate, ratelimit
from tenants.asgi import App, TenantBinding, refuse
from tenants.gate import Busy

keep_on_the_loop()
gated = Gated(BoundedBodies(Answered(cast(App, django_application))), gate.of_process)
websockets = URLRouter([path("ws/chat/", ChatSocket.as_asgi())])
# Our own doors that are no views of Django's, by how their addresses begin.
NATIVE = (
    (re.compile("/api/v1/runs"), sse.serve),
    (re.compile("/api/v1/approvals"), approvals.serve),
    (knowledge.EVENTS_PATH, knowledge.serve),
)


async def inside(scope: Any, receive: Any, send: Any) -> None:
    """What runs bound to a host."""
    if scope["type"] == "websocket":
        if scope["path"] != "/ws/chat/" or scope["paas.tenant"] is None:
            await refuse(scope, receive, send, PaasError("not_found"))
            return
        await websockets(scope, receive, send)
        return
    gated.notice(scope)
    path_ = scope["path"]
    if path_ == "/v1/responses" or path_.startswith("/v1/responses/"):
        await responses.serve(HttpRequest(scope, receive, send, scope["paas.tenant"]))
    elif path_.startswith("/v1/"):
        await openai.serve(HttpRequest(scope, receive, send, scope["paas.tenant"]))
    elif (serve := next((one for begins, one in NATIVE if begins.match(path_)), None)) is not None:
        await serve(HttpRequest(scope, receive, send, scope["paas.tenant"]))
    elif path_ == "/mcp":
        await mcp.serve(HttpRequest(scope, receive, send, scope["paas.tenant"]))
    elif phase1.serves(path_, scope["paas.tenant"], scope["method"]):
        await phase1.serve(HttpRequest(scope, receive, send, scope["paas.tenant"]))
    elif (refused := sign_in_gate.refusal(scope)) is not None:
        await sign_in_gate.answer(scope, receive, send, refused)
    elif (refused := rate_gate.refusal(scope)) is not None:
        gate.of_process.refused(whose(scope), known=not refused.of_address)
        await refuse(scope, receive, send, refused)
    else:
        await gated(scope, receive, send)


bound = serve_static(TenantBinding(inside))


async def served(scope: Any, receive: Any, send: Any) -> None:
    """What is asked for: health, what a proxy may get a certificate for, or something of a host's."""
    if scope["type"] == "http" and scope["path"] in health.PATHS:
        await health.answer(scope, send)
    elif scope["type"] == "http" and scope["path"] == certificates.PATH:
        await certificates.answer(scope, receive, send)
    elif gated.turns_away(scope):
        await refuse(scope, receive, send, Busy())
    else:
        await bound(scope, receive, send)


observed = Observed(SecureHeaders(served))


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The whole of it."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await observed(scope, receive, send)


turned_away = TurnedAway(gated)  # asked by the server before anything else is made for a request
announce_stop = health.announce_stop  # called when the process is to stop, before anything of it does


async def drain(seconds: float, hurry: asyncio.Event) -> None:
    """Called when the process is to stop, while its connections still stand: see chat.host.Host.drain."""
    here = host.current()
    here.hurry = hurry
    await here.drain(seconds)


def settle_memory() -> None:
    """Take what start-up made out of the garbage collector's sight: half a million objects that stay.

    A collection over them stops every stream of the process for tens of milliseconds. So does one over what requests
    and runs have made since, if it waits until there is much of it (20 ms for 20,000 objects): the young are looked at
    in small steps, and all of them hardly ever, for most are freed by reference counts (paas/answered.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 10, 1_000)  # objects; steps before those that stayed are looked at; and before all are


async def lifespan(receive: Any, send: Any) -> None:
    """Open the process's resources, and at the end drain its runs."""
    async with AsyncExitStack() as stack:
        await receive()
        try:
            await stack.enter_async_context(ratelimit.opened())
            await stack.enter_async_context(host.opened())
            await stack.enter_async_context(key_use.writing())
            await stack.enter_async_context(telemetry.opened("web"))
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            return
        settle_memory()
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})
