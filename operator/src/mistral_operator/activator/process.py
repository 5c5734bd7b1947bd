"""The activator process: watches slices, listens on their ports and reports queued requests."""

import asyncio
import contextlib
import logging
import re
import resource
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from mistral_operator.activator.body import STALL_SECONDS
from mistral_operator.activator.connections import Connections
from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.maps import key_map_reader, port_map_reader
from mistral_operator.activator.metrics import CONNECTIONS_CLOSED, IGNORED_REASONS, IGNORED_SLICES
from mistral_operator.activator.port_map import PortMap
from mistral_operator.activator.proxy import Proxy, upstream_session
from mistral_operator.activator.responses import error_response
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, StorageRestored
from mistral_operator.process.http_server import Health, create_app, serve
from mistral_operator.process.lifecycle import (
    StopRequested,
    heartbeat,
    leaf_errors,
    run_all,
    wait_for_signal,
)
from mistral_operator.process.settings import ActivatorSettings
from mistral_operator.scale_to_zero import PORT_MAP_QUERY
from mistral_operator.watch.resync import Resync
from mistral_operator.watch.streams import run_streams
from mistral_server.guarded_http.guarded_server import HEAD_SECONDS, Guard, GuardedRunner
from mistral_server.guarded_http.shares import Shares

log = logging.getLogger(__name__)

_RETRY_SECONDS = 10.0
_METRICS_SECONDS = 10.0
_VERSION = re.compile(r"[0-9]{1,19}")
"""A resource version: a number of 64 bits."""
_OTHER_FILES = 4_500
"""Open files besides connections of clients and replicas: two per listening port, the admin
ports and their connections, and the API server."""
_READ_BYTES = 8192
"""Read buffer of a queued request. With aiohttp's 64 KiB, most of a 1 MB body was held in memory
(tests/bench/test_activator.py)."""


async def run_activator(settings: ActivatorSettings) -> None:
    """Run until SIGTERM and the end of the running requests, or until a task fails."""
    health = Health()
    connections = max(1, len(settings.namespaces)) + 2
    async with await Cluster.connect(connections) as cluster, upstream_session() as client:
        activator = Activator(settings, cluster, client, health)
        try:
            await activator.run()
        except* StopRequested:
            log.info("stopping")
        except* (ClusterError, StorageRestored) as group:
            log.warning("stopping: %s", "; ".join(map(str, leaf_errors(group))))
            raise SystemExit(1) from None
        finally:
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
        self._port_map = PortMap(
            port_map_reader(
                *(cluster, settings.namespace, self._endpoints),
                limit_callers=settings.limit_callers,
            ),
            lambda: self._listeners.sync(),
        )
        self._listeners = Listeners(
            self._endpoints,
            client,
            Limits(
                connections=affordable(settings.connections),
                request_bytes=settings.request_memory_mib * 2**20,
                drain_seconds=settings.drain_seconds,
            ),
        )

    async def run(self) -> None:
        """Watch, listen and serve until a signal arrives."""
        ports = filter(None, (self._settings.port, self._settings.probe_port))
        self._admin = await serve(admin_app(self._health, self._endpoints, self._port_map), *ports)
        selectors = {kinds.ENDPOINT_SLICE: kinds.SELECTOR}
        namespaces = self._settings.namespaces
        resync = Resync(self._cluster, self._endpoints, selectors, namespaces)
        key_map = key_map_reader(self._cluster, self._settings.namespace, self._endpoints)
        await resync.once()
        # Before the first request: without digests, a made-up key starts a replica.
        await key_map.once()
        await run_all(
            run_streams(self._cluster, self._endpoints, resync, selectors, namespaces),
            resync.forever(self._settings.resync_seconds),
            heartbeat(
                *(self._cluster, self._health),
                stays_ready=True,
                problem=lambda: self._port_map.reader.problem,
            ),
            self._port_map.reader.run(),
            key_map.run(),
            self._sync_listeners(),
            self._export_metrics(),
            self._drain(),
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
            await self._port_map.listen()

    async def _export_metrics(self) -> None:
        while True:
            ignored = self._endpoints.count_ignored()
            for reason in IGNORED_REASONS:
                IGNORED_SLICES.labels(reason).set(ignored[reason])
            await asyncio.sleep(_METRICS_SECONDS)

    async def _drain(self) -> None:
        """On a signal, stop accepting requests, and keep watching for the queued ones."""
        with contextlib.suppress(StopRequested):
            await wait_for_signal()
        self._health.mark_terminating()
        # The operator removes this address from the slices, and every node has to apply that.
        await asyncio.sleep(self._settings.notice_seconds)
        await self._listeners.close()
        raise StopRequested


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the listeners; namespaces share the first two."""

    connections: int = 2000
    """Maximum number of open connections."""
    request_bytes: int = 96 * 2**20
    """Maximum memory of queued and forwarded requests."""
    drain_seconds: float = 5.0
    """Time that running requests have to finish when the listeners are closed."""
    head_seconds: float = HEAD_SECONDS
    """Time that a client has to send a complete head."""
    stall_seconds: float = STALL_SECONDS
    """Time that a body may pause while it is forwarded."""
    write_seconds: float = 60.0
    """Time that a client may read nothing of its response: a stream survives a lost network, or a
    client that is busy, for a minute."""


class Listeners:
    """The listening ports, one for each endpoint that can scale to zero."""

    def __init__(self, endpoints: Endpoints, client: aiohttp.ClientSession, limits: Limits) -> None:
        app = web.Application()
        memory = Shares(limits.request_bytes, endpoints.count_namespaces)
        connections = Connections(endpoints)
        proxy = Proxy(connections, client, memory, limits.stall_seconds)
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        self._endpoints = endpoints
        guard = Guard(
            Shares(limits.connections, endpoints.count_namespaces),
            group=connections.accept,
            error=_invalid_request,
            head_seconds=limits.head_seconds,
            write_seconds=limits.write_seconds,
            on_rejected=CONNECTIONS_CLOSED.inc,
        )
        # A client that disconnects must free its slot. Bodies are forwarded unchanged.
        self._runner = GuardedRunner(
            app,
            guard,
            auto_decompress=False,
            handler_cancellation=True,
            read_bufsize=_READ_BYTES,
            shutdown_timeout=limits.drain_seconds,
        )
        self._sites: dict[int, web.TCPSite] = {}
        self._closing = False
        self._lock = asyncio.Lock()

    async def sync(self) -> None:
        """Listen on exactly the ports of the current endpoints, or on none once it is closed."""
        if not self._closing:
            async with self._lock:
                await self._sync()

    async def _sync(self) -> None:
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
        self._closing = True
        async with self._lock:
            await self._runner.cleanup()
            self._sites.clear()


def _invalid_request(status: int, message: str) -> web.Response:
    return error_response(status, message, "invalid_request" if status < 500 else "failed")


def affordable(connections: int) -> int:
    """Return how many connections the limit of open files allows, after raising it.

    Each connection may need another one to a replica.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * connections + _OTHER_FILES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    possible = max((soft - _OTHER_FILES) // 2, soft // 4)
    if possible < connections:
        log.warning(
            "the limit of open files, %s, allows %s connections instead of %s: raise it, or lower"
            " activator.connections",
            soft,
            possible,
            connections,
        )
    return min(connections, possible)


def admin_app(health: Health, endpoints: Endpoints, port_map: PortMap) -> web.Application:
    """Return what an activator serves to the kubelet, to Prometheus and to the operator."""

    async def signals(request: web.Request) -> web.Response:
        version = request.query.get(PORT_MAP_QUERY, "")
        if _VERSION.fullmatch(version):
            await port_map.catch_up(int(version))
        document = endpoints.document().model_copy(update={"port_map": port_map.open_version})
        return web.Response(text=document.model_dump_json(), content_type="application/json")

    app = create_app(health)
    app.router.add_get("/signals", signals)
    return app
