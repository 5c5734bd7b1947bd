"""The running activator: watches slices, listens where they say, and tells who waits."""

import asyncio
import contextlib
import logging
import signal

import aiohttp
from aiohttp import web

from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.proxy import Proxy, session
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.process.http_server import Health, application, serve
from mistral_operator.process.lifecycle import (
    StopRequested,
    beat,
    overlook_generators,
    run_all,
    watch,
)
from mistral_operator.process.settings import ActivatorSettings
from mistral_operator.watch.resync import Resync

log = logging.getLogger(__name__)

_RETRY_SECONDS = 10.0
_READ_BYTES = 8192
"""What is read ahead of a request that is held: with aiohttp's 64 KiB, most of a body of a megabyte
ended up in memory (tests/bench/test_activator.py)."""


async def run(settings: ActivatorSettings) -> None:
    """Run until SIGTERM, and then until nobody waits any more, or until something breaks."""
    health = Health()
    async with await Cluster.connect(connections=3) as cluster, session() as client:
        activator = Activator(settings, cluster, client, health)
        try:
            await activator.run()
        except* StopRequested:
            log.info("stopping")
        finally:
            asyncio.get_running_loop().set_exception_handler(overlook_generators)
            await activator.close()


class Activator:
    """One activator process."""

    def __init__(
        self,
        settings: ActivatorSettings,
        cluster: Cluster,
        client: aiohttp.ClientSession,
        health: Health,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._health = health
        self._changed = asyncio.Event()
        self._endpoints = Endpoints(self._changed.set)
        self._admin: web.AppRunner | None = None
        self._doors = Doors(self._endpoints, client, settings.drain_seconds)

    async def run(self) -> None:
        """Watch, listen and answer until a signal arrives."""
        self._admin = await serve(_admin(self._health, self._endpoints), self._settings.port)
        selectors = {kinds.ENDPOINT_SLICE: kinds.SELECTOR}
        namespaces = self._settings.namespaces
        resync = Resync(self._cluster, self._endpoints, selectors, namespaces)
        await resync.once()
        await self._doors.open()
        kopf_has_signals = asyncio.Event()
        await run_all(
            watch(self._endpoints, selectors, namespaces, kopf_has_signals),
            resync.forever(self._settings.resync_seconds),
            beat(self._cluster, self._health, stays_ready=True),
            self._follow(),
            self._stop_gently(kopf_has_signals),
        )

    async def close(self) -> None:
        """Stop listening."""
        await self._doors.close()
        if self._admin is not None:
            await self._admin.cleanup()

    async def _follow(self) -> None:
        """Open and close doors as endpoints come and go, and try again what did not open."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _RETRY_SECONDS)
            self._changed.clear()
            await self._doors.open()

    async def _stop_gently(self, kopf_has_signals: asyncio.Event) -> None:
        """Take no new requests upon a signal, and go on watching for those that wait.

        Kopf would end its watches at once, so the signals are taken from it.
        """
        await kopf_has_signals.wait()
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, stopped.set)
        await stopped.wait()
        self._health.leave()
        # The operator has to take this address out of the slices, and every node to notice.
        await asyncio.sleep(self._settings.notice_seconds)
        await self._doors.close()
        raise StopRequested


class Doors:
    """The ports on which requests arrive, one for each endpoint that may sleep."""

    def __init__(
        self, endpoints: Endpoints, client: aiohttp.ClientSession, drain_seconds: float
    ) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", Proxy(endpoints, client).answer)
        self._endpoints = endpoints
        # A client that leaves must not keep a place, and its body is passed on as it is.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            read_bufsize=_READ_BYTES,
            shutdown_timeout=drain_seconds,
        )
        self._sites: dict[int, web.TCPSite] = {}

    async def open(self) -> None:
        """Listen where endpoints are, and nowhere else."""
        if self._runner.server is None:
            await self._runner.setup()
        wanted = self._endpoints.ports()
        for port in self._sites.keys() - wanted:
            await self._sites.pop(port).stop()
        for port in sorted(wanted - self._sites.keys()):
            site = web.TCPSite(self._runner, host=None, port=port, backlog=1024)
            try:
                await site.start()
            except OSError as error:
                log.warning("cannot listen on port %s: %s", port, error)
            else:
                self._sites[port] = site

    async def close(self) -> None:
        """Take no more requests; wait for those that are under way."""
        await self._runner.cleanup()
        self._sites.clear()


def _admin(health: Health, endpoints: Endpoints) -> web.Application:
    async def signals(_: web.Request) -> web.Response:
        return web.Response(
            text=endpoints.document().model_dump_json(), content_type="application/json"
        )

    app = application(health)
    app.router.add_get("/signals", signals)
    return app
