"""The pod's health port: probes for the kubelet, metrics for Prometheus, signals for the operator.

The supervisor serves the port from its own process, so it responds while vLLM starts, hangs or
drains.

    /startupz   200 after the first answered chat, otherwise 503; the body names the stage
    /readyz     200 while the server is serving and not draining, otherwise 503
    /livez      500 if the engine is hung, otherwise 200
    /metrics    Prometheus' text format
    /signals    the contract's SignalDocument
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from mistral_server.guarded_http.guarded_server import Guard, GuardedRunner
from mistral_server.guarded_http.shares import Shares
from mistral_server.supervisor.metrics import ServerMetrics
from mistral_server.supervisor.state import ServerState

STATE = web.AppKey("state", ServerState)
METRICS = web.AppKey("metrics", ServerMetrics)

_CONNECTIONS = 128
"""Maximum number of connections: the kubelet, Prometheus and the operator need few, and a container
may have only 1,024 open files."""
_HEAD_SECONDS = 75.0
"""Longer than the interval of scrapes, which reuse their connection."""


def health_application(state: ServerState, metrics: ServerMetrics) -> web.Application:
    """Return the application that serves `state` and `metrics`."""
    app = web.Application()
    app[STATE] = state
    app[METRICS] = metrics
    app.add_routes(
        [
            web.get("/startupz", _startupz),
            web.get("/readyz", _readyz),
            web.get("/livez", _livez),
            web.get("/metrics", _metrics),
            web.get("/signals", _signals),
        ]
    )
    return app


@asynccontextmanager
async def serve_health(state: ServerState, metrics: ServerMetrics) -> AsyncIterator[None]:
    """Serve the health port while the block runs.

    Raises:
        OSError: the port is in use.
    """
    guard = Guard(Shares(_CONNECTIONS), head_seconds=_HEAD_SECONDS)
    runner = GuardedRunner(health_application(state, metrics), guard, shutdown_timeout=1.0)
    await runner.setup()
    try:
        # Without a host, asyncio opens a socket for each family.
        site = web.TCPSite(runner, state.settings.host or None, state.settings.health_port)
        await site.start()
        yield
    finally:
        await runner.cleanup()


async def _startupz(request: web.Request) -> web.Response:
    state = request.app[STATE]
    body = {
        "stage": state.stages.current.value,
        "seconds": round(state.stages.seconds(), 1),
        "finished": {s.value: round(took, 1) for s, took in state.stages.durations().items()},
    }
    return web.json_response(body, status=200 if state.started else 503)


async def _readyz(request: web.Request) -> web.Response:
    state = request.app[STATE]
    return web.Response(text=state.stages.current.value, status=200 if state.ready else 503)


async def _livez(request: web.Request) -> web.Response:
    reason = request.app[STATE].stall_reason()
    return web.Response(text=reason or "ok", status=500 if reason else 200)


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(
        body=request.app[METRICS].exposition(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


async def _signals(request: web.Request) -> web.Response:
    return web.json_response(text=request.app[STATE].signals().model_dump_json())
