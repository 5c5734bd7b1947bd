"""/metrics, /healthz and /readyz of the operator, and /autoscaling for KEDA."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mistral_operator import names
from mistral_operator.scaler import Scaler
from mistral_operator.store import Key


@dataclass(slots=True)
class Health:
    """What the probes answer."""

    stuck_after: float = 60.0
    """Seconds without a sign of life after which the process should be restarted."""
    ready: bool = False
    """The API server was reached, and this replica stands by or acts."""
    leaving: bool = False
    """The process is about to stop."""
    clock: Callable[[], float] = time.monotonic
    last_beat: float = field(default_factory=time.monotonic)

    def leave(self) -> None:
        """Be ready no more, whatever else is found out."""
        self.ready, self.leaving = False, True

    def beat(self) -> None:
        """Give a sign of life: the event loop turns."""
        self.last_beat = self.clock()

    @property
    def alive(self) -> bool:
        """Whether the last sign of life is recent."""
        return self.clock() - self.last_beat < self.stuck_after


@dataclass(slots=True)
class Loads:
    """The loads of endpoints, for another autoscaler."""

    scaler: Scaler | None = None
    """Who knows them; unset while this replica stands by."""

    def answer(self, key: Key) -> web.Response:
        """Return the load of an endpoint. What is not known is an error, never a zero."""
        if self.scaler is None:
            return web.Response(status=503, text="this replica of the operator stands by\n")
        reading = self.scaler.reading(key)
        if reading is None:
            return web.Response(status=503, text="no pod of it says what it does\n")
        return web.json_response(asdict(reading))


def application(
    health: Health, loads: Loads | None = None, registry: CollectorRegistry = REGISTRY
) -> web.Application:
    """Return the web application; without `loads`, of a process that knows none."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.alive, "the event loop is stuck")

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.ready, "the API server has not been reached yet")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    if loads is not None:
        app.router.add_get(names.load_path("{namespace}", "{name}"), _telling(loads))
    return app


def _telling(loads: Loads) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def autoscaling(request: web.Request) -> web.Response:
        return loads.answer(Key(request.match_info["namespace"], request.match_info["name"]))

    return autoscaling


def _answer(good: bool, problem: str) -> web.Response:
    return web.Response(text="ok\n") if good else web.Response(status=503, text=f"{problem}\n")


async def serve(app: web.Application, port: int) -> web.AppRunner:
    """Start serving; the caller cleans the runner up."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host=None, port=port).start()
    return runner
