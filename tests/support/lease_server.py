"""An API server that knows one Lease: versions, conflicts, and faults on request."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from mistral_operator.kube.client import Cluster
from mistral_operator.kube.fence import Fence


@dataclass
class Clock:
    """A clock that tests set forward."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass(frozen=True)
class Page:
    """The answer of a proxy in place of the API server's."""

    text: str
    content_type: str = "application/json"
    methods: Collection[str] = ("GET", "POST", "PUT")
    """Methods of the requests that it answers."""


@dataclass
class LeaseServer:
    """Keeps a Lease as the API server does."""

    lease: dict[str, Any] | None = None
    version: int = 0
    hang_seconds: float = 0.0
    """How long requests wait before they are answered."""
    status: int = 200
    """Anything else is the answer to every request."""
    message: str = "injected"
    """The sentence of that answer."""
    page: Page | None = None
    """Answers in place of the API server, which carries out the request nevertheless."""
    writes: list[str] = field(default_factory=list)
    """Holders of the Lease, one for each write that was taken."""
    written: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first write."""

    @property
    def holder(self) -> str | None:
        """Identity of who holds the Lease."""
        return None if self.lease is None else self.lease["spec"]["holderIdentity"]

    def take(self, body: dict[str, Any]) -> web.Response:
        """Keep a Lease that was created or replaced."""
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        body["metadata"].setdefault("uid", f"uid-{self.version}")
        self.lease = body
        self.writes.append(body["spec"].get("holderIdentity", ""))
        self.written.set()
        return web.json_response(body)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        response = await self._carry_out(request)
        if self.page is None or request.method not in self.page.methods:
            return response
        return web.Response(text=self.page.text, content_type=self.page.content_type)

    async def _carry_out(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.hang_seconds)
        if self.status != 200:
            return _refusal(self.status, self.message)
        if request.method == "GET":
            return _refusal(404) if self.lease is None else web.json_response(self.lease)
        body = await request.json()
        if request.method == "POST":
            return self.take(body) if self.lease is None else _refusal(409)
        if self.lease is None:
            return _refusal(404)
        expected = body["metadata"].get("resourceVersion")
        return self.take(body) if expected == str(self.version) else _refusal(409)

    @asynccontextmanager
    async def serving(self, *clocks: Clock) -> AsyncIterator[list[Cluster]]:
        """Serve, and return a connection with a fence for each clock."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        async with TestServer(app) as server:
            url = str(server.make_url("")).rstrip("/")
            clusters = [
                Cluster(ApiClient(Configuration(host=url)), Fence(clock)) for clock in clocks
            ]
            try:
                yield clusters
            finally:
                for cluster in clusters:
                    await cluster.client.close()


def _refusal(status: int, message: str = "") -> web.Response:
    reasons = {404: "NotFound", 409: "Conflict"}
    body = {"kind": "Status", "code": status, "reason": reasons.get(status, "InternalError")}
    body["message"] = message
    return web.json_response(body, status=status)
