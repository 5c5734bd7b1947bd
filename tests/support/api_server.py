"""A web server on the loopback network that gives prepared answers, as an API server would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from mistral_operator.kube.client import Cluster

Object = dict[str, Any]


def live_object(**metadata: str) -> Object:
    """Return an object as the API server answers with it."""
    return {"metadata": {"name": "any", "resourceVersion": "1", **metadata}}


@dataclass
class ApiServer:
    """Sends prepared responses and records requests."""

    status: int = 200
    answer: Any = field(default_factory=lambda: live_object())
    requests: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)
    pages: list[Object] = field(default_factory=list)
    script: list[tuple[int, Any]] = field(default_factory=list)
    """Status and answer of the next requests, one after the other."""
    refusals: int = 0
    """How many requests are told to come later before any is answered."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of those refusals."""
    accepted: list[str] = field(default_factory=list)
    """Media type that each request accepts."""
    times: list[float] = field(default_factory=list)
    """When each request came, by the loop's clock."""

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request."""
        query, kind = dict(request.query), request.content_type
        self.requests.append((request.method, request.path, query, kind))
        self.accepted.append(request.headers["Accept"])
        self.times.append(asyncio.get_running_loop().time())
        if self.refusals:
            self.refusals -= 1
            return web.json_response({"message": "initializing"}, status=429, headers=self.headers)
        if self.script:
            status, answer = self.script.pop(0)
            if isinstance(answer, str):
                return web.Response(status=status, text=answer)
            return web.json_response(answer, status=status)
        if isinstance(self.answer, str):
            return web.Response(status=self.status, text=self.answer)
        answer = self.pages.pop(0) if self.pages else self.answer
        return web.json_response(answer, status=self.status)

    @asynccontextmanager
    async def cluster(self) -> AsyncIterator[Cluster]:
        """Serve, and return a connection."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        async with TestServer(app) as server:
            configuration = Configuration(host=str(server.make_url("")).rstrip("/"))
            async with Cluster(ApiClient(configuration)) as made:
                yield made
