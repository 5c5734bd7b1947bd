"""/metrics, /healthz and /readyz of the operator, and /autoscaling for KEDA."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mistral_operator.kube import names
from mistral_operator.kube.errors import CannotStart
from mistral_server.guarded_http.guarded_server import Guard, GuardedRunner, port_of
from mistral_server.guarded_http.shares import Shares

_CONNECTIONS = 128
"""Maximum number of connections per port: probes, Prometheus, KEDA and the operator need few."""
_HEAD_SECONDS = 75.0
"""Longer than the interval of scrapes, which reuse their connection."""


@dataclass(slots=True)
class Health:
    """State that the probes report."""

    stuck_after: float = 60.0
    """Seconds without a heartbeat after which the liveness probe fails."""
    problem: str | None = "the API server has not been reached yet"
    """Why this replica is neither leading nor on standby, None if it is."""
    terminating: bool = False
    """The process is shutting down."""
    clock: Callable[[], float] = time.monotonic
    last_heartbeat: float = field(default_factory=time.monotonic)

    def mark_terminating(self) -> None:
        """Fail the readiness probe until the process exits."""
        self.problem, self.terminating = "this process is about to stop", True

    def heartbeat(self) -> None:
        """Record that the event loop is running."""
        self.last_heartbeat = self.clock()

    @property
    def alive(self) -> bool:
        """Whether the last heartbeat is recent."""
        return self.clock() - self.last_heartbeat < self.stuck_after


Load = Callable[[str, str], dict[str, Any] | str]
"""Returns the load of an endpoint by namespace and name, or why it is unavailable."""


def create_app(
    health: Health, load: Load | None = None, registry: CollectorRegistry = REGISTRY
) -> web.Application:
    """Return the web application, with /autoscaling only if `load` is set."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # series that no rule reads

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def healthz(_: web.Request) -> web.Response:
        return _response(health.alive, "the event loop is stuck")

    async def readyz(_: web.Request) -> web.Response:
        return _response(health.problem is None, health.problem or "")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    if load is not None:
        app.router.add_get(names.load_path("{namespace}", "{name}"), _load_handler(load))
    return app


def _load_handler(load: Load) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def autoscaling(request: web.Request) -> web.Response:
        result = load(request.match_info["namespace"], request.match_info["name"])
        # An unavailable load is an error, never zero.
        if isinstance(result, str):
            return web.Response(status=503, text=f"{result}\n")
        return web.json_response(result)

    return autoscaling


def _response(good: bool, problem: str) -> web.Response:
    return web.Response(text="ok\n") if good else web.Response(status=503, text=f"{problem}\n")


async def serve(app: web.Application, *ports: int) -> web.AppRunner:
    """Start serving; the caller cleans up the runner.

    Args:
        app: what to serve.
        ports: ports to listen on. Each has connections of its own, so that clients of one cannot
            take those of another.

    Raises:
        CannotStart: a port is in use or not permitted.
    """
    limit = Shares(_CONNECTIONS * len(ports), lambda: len(ports))
    runner = GuardedRunner(app, Guard(limit, group=port_of, head_seconds=_HEAD_SECONDS))
    await runner.setup()
    for port in ports:
        try:
            await web.TCPSite(runner, host=None, port=port).start()
        except OSError as error:
            await runner.cleanup()
            raise CannotStart(
                f"port {port} cannot be opened: {error.strerror}; set another one in"
                " MISTRAL_OPERATOR_PORT, MISTRAL_ACTIVATOR_PORT or MISTRAL_ACTIVATOR_PROBE_PORT"
            ) from error
    return runner
