"""An activator of one endpoint, its client and its replica, in the process of the test."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import REGISTRY
from yarl import URL

from builders import NAME, NAMESPACE
from endpoint_slices import mapped, our_slice, slice_body
from mistral_operator.activator.endpoints import Endpoint, Endpoints
from mistral_operator.activator.process import Limits, Listeners
from mistral_operator.activator.proxy import upstream_session
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import PortMapEntry, StoredKeys, Terms
from mistral_server.contract import key_digest
from server_runner import free_port

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "Hi"}]}


@dataclass
class Replica:
    """An engine that echoes the request, or streams the response for `/stream`."""

    port: int = field(default_factory=free_port)
    received: list[web.Request] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    keys: set[str] | None = None
    """Keys that it accepts; any if None. As at the gate, OPTIONS needs none."""
    status: int = 201
    """Status of its responses."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Replica"]:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/stream", self._stream)
        app.router.add_post("/broken", self._broken)
        app.router.add_route("*", "/{path:.*}", self._echo)
        runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.1,
            max_field_size=65_536,  # as vLLM's server accepts
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _echo(self, request: web.Request) -> web.Response:
        self.received.append(request)
        body = await request.read()
        if request.method == "OPTIONS":
            return web.Response(status=405)
        if self.keys is not None and request.headers.get("Authorization") not in self.keys:
            return web.Response(status=401)
        headers = {"X-Loop": "none", "Connection": "X-Hop", "X-Hop": "mine"}
        return web.Response(
            status=self.status, body=body or b"nothing", headers=headers, content_type="text/odd"
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.received.append(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: one\n\n")
        try:
            await self.more.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise
        await response.write(b"data: two\n\n")
        return response

    async def _broken(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: one\n\n")
        assert request.transport is not None
        request.transport.abort()
        return response


@dataclass
class Activator:
    """An activator for one endpoint, and its client."""

    endpoints: Endpoints
    port: int
    client: aiohttp.ClientSession
    listeners: Listeners
    entries: dict[int, PortMapEntry]

    async def add(self, namespace: str, **terms: Any) -> int:
        """Add the endpoint of another namespace and return its port."""
        port = free_port()
        self.entries[port] = mapped(Key(namespace, NAME), _terms(**terms))
        self.endpoints.set_ports(self.entries)
        self.see(our_slice("127.0.0.1", port=port, namespace=namespace))
        await self.listeners.sync()
        return port

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that it serves in place of."""
        endpoint = self.endpoints.by_port(self.port)
        assert endpoint is not None
        return endpoint

    def see(self, *bodies: Any) -> None:
        """Send watch events of slices."""
        for body in bodies:
            self.endpoints.on_event(kinds.ENDPOINT_SLICE, body, deleted=False)

    def make_ready(self, replica: Replica) -> None:
        """Add a ready replica."""
        self.see(slice_body("127.0.0.1", port=replica.port))

    def no_replica(self) -> None:
        """Remove the ready replica."""
        self.see(slice_body())

    def publish_keys(self, *keys: str, salt: str = "A" * 16) -> None:
        """Give the activator digests of keys, as its operator does; without any, take them away."""
        digests = tuple(key_digest(one.encode(), salt) for one in keys)
        entries = {self.endpoint.key: StoredKeys("c2VjcmV0", salt, digests)} if keys else {}
        self.endpoints.set_keys(entries)

    def url(self, path: str) -> URL:
        """Return a URL of the endpoint, as it is."""
        return URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)

    async def post(self, path: str = CHAT, **options: Any) -> tuple[int, Any, Any]:
        """Return status, headers and body of a response."""
        options = {"json": HELLO} | options
        async with self.client.post(self.url(path), **options) as response:
            return response.status, response.headers, await response.read()

    async def until_queued(self, count: int) -> None:
        """Wait until this many requests are queued."""
        for _ in range(5000):
            if self.endpoint.held == count:
                return
            await asyncio.sleep(0.001)
        raise TimeoutError(f"{self.endpoint.held} requests are queued, not {count}")


def _terms(**terms: Any) -> Terms:
    return Terms(**{"model": "small", "max_wait_seconds": 30, "max_requests": 10, **terms})


@asynccontextmanager
async def activator(limits: Limits | None = None, **terms: Any) -> AsyncIterator[Activator]:
    """Run an activator."""
    port = free_port()
    endpoints = Endpoints(is_target=lambda *_: True)
    entries = {port: mapped(terms=_terms(**terms))}
    endpoints.set_ports(entries)
    async with upstream_session() as upstream, aiohttp.ClientSession() as client:
        listeners = Listeners(endpoints, upstream, limits or Limits())
        made = Activator(endpoints, port, client, listeners, entries)
        made.see(our_slice("127.0.0.1", port=port))
        await listeners.sync()
        try:
            yield made
        finally:
            await listeners.close()


def counted(outcome: str) -> float:
    """Return how many requests had this outcome."""
    labels = {"namespace": NAMESPACE, "name": NAME, "outcome": outcome}
    return REGISTRY.get_sample_value("mistral_activator_requests_total", labels) or 0.0


def error_of(body: bytes) -> dict[str, Any]:
    """Return the error in a body, as the OpenAI clients read it."""
    error: dict[str, Any] = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error
