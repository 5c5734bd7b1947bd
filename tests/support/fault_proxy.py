"""A reverse proxy between one operator and the API server that numbers requests and injects faults.

    async with FaultProxy(cluster, "first", directory) as proxy:
        proxy.faults.append(RespondEvery(3, 409, a_write))
        operator = OperatorUnderFaults(proxy, log)

`fault_proxy_requests` and `fault_proxy_watches` hold the faults.
"""

import asyncio
import itertools
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from fault_exchange import (
    WRITES,
    Disconnect,
    Exchange,
    Fault,
    ProxyResponse,
    WatchEvent,
    parse_path,
)
from mistral_dev.cluster import Cluster

_FORWARDED = ("Accept", "Content-Type")
_ACCEPTED_SECONDS = 0.05
"""Time in which a connection that was just accepted is known to the server."""
_ABANDONED_SECONDS = 0.2
"""Interval at which a watch is checked for a client that went away."""


_Out = asyncio.Queue[WatchEvent | None]


@dataclass
class FaultProxy:
    """The proxy of one operator.

    Args:
        cluster: whose API server is behind it.
        name: user agent of the forwarded requests, which the audit log shows.
        directory: where the kubeconfig for the operator is written.
        token: bearer token to forward; the administrator's certificate when left out.
    """

    cluster: Cluster
    name: str
    directory: Path
    token: str | None = None
    faults: list[Fault] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _writes: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _streams: dict[_Out, Exchange] = field(default_factory=dict)
    _port: int = 0

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig for the operator."""
        return self.directory / f"{self.name}.kubeconfig"

    @property
    def url(self) -> str:
        """The address of the proxy."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def writes(self) -> list[Exchange]:
        """The writes since the last reset, without those of the Lease."""
        return [one for one in self.exchanges if one.write is not None]

    async def __aenter__(self) -> Self:
        """Listen, and write the kubeconfig."""
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        connector = aiohttp.TCPConnector(ssl=self._tls(), limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        await self.accept()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        self.kubeconfig.write_text(json.dumps(config))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        for out in [*self._streams]:
            out.put_nowait(None)
        # A connection that is accepted or set up while others are closed would stay open.
        await self._site.stop()
        await asyncio.sleep(_ACCEPTED_SECONDS)
        await self._runner.cleanup()
        await self._session.close()

    def reset(self) -> None:
        """Forget past requests and count anew."""
        self.exchanges = []
        self._numbers, self._writes = itertools.count(1), itertools.count(1)

    @contextmanager
    def fault(self, *faults: Fault) -> Iterator[None]:
        """Inject faults until the block ends."""
        self.faults.extend(faults)
        try:
            yield
        finally:
            for one in faults:
                self.faults.remove(one)

    async def accept(self) -> None:
        """Accept connections."""
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        self._port = self._runner.addresses[0][1]

    async def refuse(self) -> None:
        """Break every connection and refuse new ones, until `accept`."""
        await self._site.stop()
        self.disconnect()

    def disconnect(self) -> None:
        """Break every connection."""
        assert self._runner.server is not None
        for connection in [*self._runner.server.connections]:
            if connection.transport is not None:
                connection.transport.abort()

    def end_watches(self, code: int, *kinds: str, message: str = "etcdserver: no leader") -> int:
        """End watches with an ERROR event, all or those of some kinds; return how many."""
        status = json.loads(ProxyResponse.failure(code, "Expired", message).body)
        line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        ended = [out for out, one in self._streams.items() if not kinds or one.kind in kinds]
        for out in ended:
            out.put_nowait(WatchEvent(line))
            out.put_nowait(None)
        return len(ended)

    @property
    def watched_kinds(self) -> list[str]:
        """The kinds of the watches that are open now."""
        return sorted(one.kind for one in self._streams.values())

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        exchange = self._exchange(request)
        self.exchanges.append(exchange)
        try:
            for fault in [*self.faults]:
                answer = await fault.before(exchange)
                if answer is not None:
                    return _response(answer)
            if exchange.is_watch:
                return await self._stream(request, exchange)
            answer = await self._forward(request, exchange)
            for fault in [*self.faults]:
                answer = await fault.after(exchange, answer)
            return _response(answer)
        except (Disconnect, aiohttp.ClientError):
            # The API server itself may be away: its client sees a broken connection, too.
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    def _exchange(self, request: web.Request) -> Exchange:
        kind, namespace, name = parse_path(request.path)
        counted = request.method in WRITES and kind != "leases"
        return Exchange(
            next(self._numbers),
            next(self._writes) if counted else None,
            request.method,
            request.path,
            request.query_string,
            kind,
            namespace,
            name,
            accepts=request.headers.get("Accept", ""),
            is_watch=request.query.get("watch") == "true",
            is_abandoned=lambda: _is_abandoned(request),
        )

    @asynccontextmanager
    async def _upstream(self, request: web.Request) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {one: request.headers[one] for one in _FORWARDED if one in request.headers}
        headers["User-Agent"] = self.name
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        url = URL(f"{self.cluster.api_url}{request.raw_path}", encoded=True)
        body = await request.read() if request.can_read_body else None
        async with self._session.request(
            request.method, url, headers=headers, data=body
        ) as response:
            yield response

    async def _forward(self, request: web.Request, exchange: Exchange) -> ProxyResponse:
        async with self._upstream(request) as response:
            body = await response.read()
            exchange.status, exchange.responded_at = response.status, time.monotonic()
            copied = ("Content-Type", "Retry-After")
            headers = {one: response.headers[one] for one in copied if one in response.headers}
            return ProxyResponse(response.status, body, headers)

    async def _stream(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        async with self._upstream(request) as response:
            exchange.status = response.status
            if response.status != 200:
                return _response(ProxyResponse(response.status, await response.read()))
            answer = web.StreamResponse(headers={"Content-Type": "application/json"})
            await answer.prepare(request)
            out = _Out()
            self._streams[out] = exchange
            tasks = [
                asyncio.create_task(self._read_events(response, exchange, out)),
                asyncio.create_task(_write_events(answer, out)),
                asyncio.create_task(_until_abandoned(request)),
            ]
            try:
                await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
            finally:
                del self._streams[out]
                # Closing would wait for the API server, longer than the test may run.
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            return answer

    async def _read_events(
        self, response: aiohttp.ClientResponse, exchange: Exchange, out: _Out
    ) -> None:
        loop, buffer = asyncio.get_running_loop(), b""
        with suppress(aiohttp.ClientError):
            async for chunk in response.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    for delay, event in self._changed(exchange, WatchEvent(line + b"\n")):
                        if delay:
                            loop.call_later(delay, out.put_nowait, event)
                        else:
                            out.put_nowait(event)
        out.put_nowait(None)

    def _changed(self, exchange: Exchange, event: WatchEvent) -> list[tuple[float, WatchEvent]]:
        events = [(0.0, event)]
        for fault in self.faults:
            events = [
                (delay + more, changed)
                for delay, one in events
                for more, changed in fault.events(exchange, one)
            ]
        return events

    def _tls(self) -> ssl.SSLContext:
        pki = self.cluster.layout.pki
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        if self.token is None:
            context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
        return context


async def _write_events(answer: web.StreamResponse, out: _Out) -> None:
    with suppress(ConnectionError):
        while (event := await out.get()) is not None:
            await answer.write(event.line)


async def _until_abandoned(request: web.Request) -> None:
    # aiohttp reports it by canceling the handler, which would also stop delayed requests.
    while not _is_abandoned(request):  # noqa: ASYNC110
        await asyncio.sleep(_ABANDONED_SECONDS)


def _is_abandoned(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _response(answer: ProxyResponse) -> web.Response:
    headers = {"Content-Type": "application/json", **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)
