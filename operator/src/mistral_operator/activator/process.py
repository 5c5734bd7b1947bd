"""The activator process: watches slices, listens on their ports and reports queued requests."""

import asyncio
import contextlib
import logging
import signal

import aiohttp
from aiohttp import web

from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.proxy import Proxy, upstream_session
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.process.http_server import Health, create_app, serve
from mistral_operator.process.lifecycle import (
    StopRequested,
    heartbeat,
    ignore_generator_close_errors,
    run_all,
    run_watches,
)
from mistral_operator.process.settings import ActivatorSettings
from mistral_operator.watch.resync import Resync

log = logging.getLogger(__name__)

_RETRY_SECONDS = 10.0
_READ_BYTES = 8192
"""Read buffer of a queued request. With aiohttp's 64 KiB, most of a 1 MB body was held in memory
(tests/bench/test_activator.py)."""


async def run_activator(settings: ActivatorSettings) -> None:
    """Run until SIGTERM and the end of the running requests, or until a task fails."""
    health = Health()
    async with await Cluster.connect(connections=3) as cluster, upstream_session() as client:
        activator = Activator(settings, cluster, client, health)
        try:
            await activator.run()
        except* StopRequested:
            log.info("stopping")
        finally:
            asyncio.get_running_loop().set_exception_handler(ignore_generator_close_errors)
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
        self._listeners = Listeners(self._endpoints, client, settings.drain_seconds)

    async def run(self) -> None:
        """Watch, listen and serve until a signal arrives."""
        self._admin = await serve(_admin(self._health, self._endpoints), self._settings.port)
        selectors = {kinds.ENDPOINT_SLICE: kinds.SELECTOR}
        namespaces = self._settings.namespaces
        resync = Resync(self._cluster, self._endpoints, selectors, namespaces)
        await resync.once()
        await self._listeners.sync()
        kopf_has_signals = asyncio.Event()
        await run_all(
            run_watches(self._endpoints, selectors, namespaces, kopf_has_signals),
            resync.forever(self._settings.resync_seconds),
            heartbeat(self._cluster, self._health, stays_ready=True),
            self._sync_listeners(),
            self._drain(kopf_has_signals),
        )

    async def close(self) -> None:
        """Stop listening."""
        await self._listeners.close()
        if self._admin is not None:
            await self._admin.cleanup()

    async def _sync_listeners(self) -> None:
        """Update the listeners when endpoints change, and retry ports that could not be opened."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _RETRY_SECONDS)
            self._changed.clear()
            await self._listeners.sync()

    async def _drain(self, kopf_has_signals: asyncio.Event) -> None:
        """On a signal, stop accepting requests, and keep watching for the queued ones.

        Kopf would stop its watches immediately, so its signal handlers are replaced.
        """
        await kopf_has_signals.wait()
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, stopped.set)
        await stopped.wait()
        self._health.mark_terminating()
        # The operator removes this address from the slices, and every node has to apply that.
        await asyncio.sleep(self._settings.notice_seconds)
        await self._listeners.close()
        raise StopRequested


class Listeners:
    """The listening ports, one for each endpoint that can scale to zero."""

    def __init__(
        self, endpoints: Endpoints, client: aiohttp.ClientSession, drain_seconds: float
    ) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", Proxy(endpoints, client).handle)
        self._endpoints = endpoints
        # A client that disconnects must free its slot. Bodies are forwarded unchanged.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            read_bufsize=_READ_BYTES,
            shutdown_timeout=drain_seconds,
        )
        self._sites: dict[int, web.TCPSite] = {}

    async def sync(self) -> None:
        """Listen on exactly the ports of the current endpoints."""
        if self._runner.server is None:
            await self._runner.setup()
        desired = self._endpoints.ports()
        for port in self._sites.keys() - desired:
            await self._sites.pop(port).stop()
        for port in sorted(desired - self._sites.keys()):
            site = web.TCPSite(self._runner, host=None, port=port, backlog=1024)
            try:
                await site.start()
            except (OSError, OverflowError) as error:
                # A port that is taken, or that is none: the other endpoints are served.
                log.warning("cannot listen on port %s: %s", port, error)
            else:
                self._sites[port] = site

    async def close(self) -> None:
        """Stop accepting requests and wait for the running ones."""
        await self._runner.cleanup()
        self._sites.clear()


def _admin(health: Health, endpoints: Endpoints) -> web.Application:
    async def signals(_: web.Request) -> web.Response:
        return web.Response(
            text=endpoints.document().model_dump_json(), content_type="application/json"
        )

    app = create_app(health)
    app.router.add_get("/signals", signals)
    return app
