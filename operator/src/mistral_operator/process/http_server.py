"""/metrics, /healthz and /readyz of the operator, and /autoscaling for KEDA."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mistral_operator.kube import names


@dataclass(slots=True)
class Health:
    """What the probes answer."""

    stuck_after: float = 60.0
    """Seconds without a sign of life after which the process should be restarted."""
    problem: str | None = "the API server has not been reached yet"
    """Why this replica neither acts nor stands by; None if it does."""
    leaving: bool = False
    """The process is about to stop."""
    clock: Callable[[], float] = time.monotonic
    last_beat: float = field(default_factory=time.monotonic)

    def leave(self) -> None:
        """Be ready no more, whatever else is found out."""
        self.problem, self.leaving = "this process is about to stop", True

    def beat(self) -> None:
        """Give a sign of life: the event loop turns."""
        self.last_beat = self.clock()

    @property
    def alive(self) -> bool:
        """Whether the last sign of life is recent."""
        return self.clock() - self.last_beat < self.stuck_after


Load = Callable[[str, str], dict[str, Any] | str]
"""Returns the load of an endpoint by namespace and name, or says why it is not known."""


def application(
    health: Health, load: Load | None = None, registry: CollectorRegistry = REGISTRY
) -> web.Application:
    """Return the web application; without `load`, of a process that knows none."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.alive, "the event loop is stuck")

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.problem is None, health.problem or "")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    if load is not None:
        app.router.add_get(names.load_path("{namespace}", "{name}"), _load_handler(load))
    return app


def _load_handler(load: Load) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def autoscaling(request: web.Request) -> web.Response:
        known = load(request.match_info["namespace"], request.match_info["name"])
        # What is not known is an error, never a zero.
        if isinstance(known, str):
            return web.Response(status=503, text=f"{known}\n")
        return web.json_response(known)

    return autoscaling


def _answer(good: bool, problem: str) -> web.Response:
    return web.Response(text="ok\n") if good else web.Response(status=503, text=f"{problem}\n")


async def serve(app: web.Application, port: int) -> web.AppRunner:
    """Start serving; the caller cleans the runner up."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host=None, port=port).start()
    return runner
