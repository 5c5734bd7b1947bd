"""Reading what tenants choose: answers and logs of their pods."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from builders import NAMESPACE
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.documents import LONGEST_TEXT
from mistral_operator.plugin.reader import Reader

MIB = 1024 * 1024


class EndlessServer:
    """An API server whose pods stream without an end."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.sent = 0
        """Bytes of the response that were sent."""
        self.query: dict[str, str] = {}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.query = dict(request.query)
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        while self.sent < 64 * MIB:
            await response.write(MIB * b"x")
            self.sent += MIB
        return response

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Reader]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        async with TestServer(app) as server:
            configuration = Configuration(host=f"http://127.0.0.1:{server.port}")
            configuration.client_session_kwargs = {"trust_env": False}
            async with Cluster(ApiClient(configuration)) as cluster:
                yield Reader(cluster)


async def test_only_the_begin_of_what_a_pod_streams_is_read() -> None:
    server = EndlessServer()
    async with server.reader() as reader:
        text = await reader.text_of_pod(NAMESPACE, "small-1", 8001, "signals")

    assert text is not None
    assert len(text) == LONGEST_TEXT
    assert server.sent < 2 * LONGEST_TEXT


async def test_only_the_begin_of_an_error_of_a_pod_is_read() -> None:
    server = EndlessServer(status=500)
    async with server.reader() as reader:
        assert await reader.text_of_pod(NAMESPACE, "small-1", 8001, "signals") is None

    assert server.sent < 2 * LONGEST_TEXT


async def test_a_log_that_is_cut_is_noted() -> None:
    server = EndlessServer()
    async with server.reader() as reader:
        text = await reader.log(NAMESPACE, "small-1", "server", previous=False, lines=7)

    assert text is not None
    assert len(text) == LONGEST_TEXT
    assert server.query["limitBytes"] == str(LONGEST_TEXT)
    assert server.query["tailLines"] == "7"
    assert reader.notes == [
        "the log of small-1/server is longer than 8 MiB, and its end is cut: ask for fewer lines"
    ]
