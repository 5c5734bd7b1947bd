"""Requests to an endpoint that sleeps: held, forwarded, streamed back, or refused with a reason."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from yarl import URL

from builders import NAME, NAMESPACE
from endpoint_slices import our_slice, slice_body
from mistral_operator.activator.endpoints import Endpoint, Endpoints
from mistral_operator.activator.process import Doors
from mistral_operator.activator.proxy import session
from mistral_operator.kube import kinds
from mistral_operator.scale_to_zero import Terms
from server_runner import free_port

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "Hi"}]}


@dataclass
class Replica:
    """An engine that answers with what it was asked, or in pieces, as `/stream` wants."""

    port: int = field(default_factory=free_port)
    asked: list[web.Request] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Replica"]:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/stream", self._stream)
        app.router.add_post("/broken", self._broken)
        app.router.add_route("*", "/{path:.*}", self._echo)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _echo(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        body = await request.read()
        headers = {"X-Loop": "none", "Connection": "X-Hop", "X-Hop": "mine"}
        return web.Response(
            status=418, body=body or b"nothing", headers=headers, content_type="text/odd"
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
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
    """An activator for one endpoint, and a client that asks it."""

    endpoints: Endpoints
    port: int
    client: aiohttp.ClientSession

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that it stands in for."""
        found = self.endpoints.at(self.port)
        assert found is not None
        return found

    def see(self, *bodies: Any) -> None:
        """Let the watch tell of slices."""
        for body in bodies:
            self.endpoints.saw(kinds.ENDPOINT_SLICE, body, deleted=False)

    def wake(self, replica: Replica) -> None:
        """Let a replica become ready."""
        self.see(slice_body("127.0.0.1", port=replica.port))

    def url(self, path: str) -> URL:
        """Return a URL of the endpoint, as it is."""
        return URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)

    async def post(self, path: str = CHAT, **options: Any) -> tuple[int, Any, Any]:
        """Return status, headers and body of an answer."""
        options = {"json": HELLO} | options
        async with self.client.post(self.url(path), **options) as answer:
            return answer.status, answer.headers, await answer.read()

    async def until_held(self, count: int) -> None:
        """Wait until as many requests are held."""
        for _ in range(5000):
            if self.endpoint.held == count:
                return
            await asyncio.sleep(0.001)
        raise TimeoutError(f"{self.endpoint.held} requests are held, not {count}")


@asynccontextmanager
async def activator(**terms: Any) -> AsyncIterator[Activator]:
    """Run an activator."""
    port = free_port()
    given = Terms(**{"model": "small", "max_wait_seconds": 30, "max_requests": 10, **terms})
    endpoints = Endpoints()
    ours = our_slice("127.0.0.1", port=port, terms=given.model_dump_json())
    async with session() as upstream, aiohttp.ClientSession() as client:
        doors = Doors(endpoints, upstream, drain_seconds=5)
        made = Activator(endpoints, port, client)
        made.see(ours)
        await doors.open()
        try:
            yield made
        finally:
            await doors.close()


def counted(outcome: str) -> float:
    """Return how many requests ended so."""
    labels = {"namespace": NAMESPACE, "name": NAME, "outcome": outcome}
    return REGISTRY.get_sample_value("mistral_activator_requests_total", labels) or 0.0


def error_of(body: bytes) -> dict[str, Any]:
    """Return the error in a body, as the OpenAI clients read it."""
    error: dict[str, Any] = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_a_request_is_held_until_a_replica_is_ready_and_then_answered() -> None:
    before = counted("forwarded")
    async with activator() as made, Replica().serving() as replica:
        asking = asyncio.create_task(made.post(data=b"a body", json=None))
        await made.until_held(1)

        made.wake(replica)

        status, headers, body = await asking
        assert (status, body, headers["Content-Type"]) == (418, b"a body", "text/odd")
        assert made.endpoint.held == 0
    assert counted("forwarded") == before + 1


async def test_headers_of_one_connection_stay_there_and_all_others_pass() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.wake(replica)
        headers = {"Authorization": "Bearer key", "Connection": "X-Private", "X-Private": "1"}

        _, answered, _ = await made.post("/v1/%61?b=%20", headers=headers)

        (asked,) = replica.asked
        assert asked.raw_path == "/v1/%61?b=%20"
        assert asked.headers["Authorization"] == "Bearer key"
        assert asked.headers["Host"] == f"127.0.0.1:{made.port}"
        assert asked.headers["Content-Type"] == "application/json"
        assert "X-Private" not in asked.headers
        assert answered["X-Loop"] == "none"
        assert "X-Hop" not in answered


async def test_a_large_body_and_a_chunked_one_arrive_whole() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%04d" % number * 1000

    async with activator() as made, Replica().serving() as replica:
        made.wake(replica)
        large = b"x" * 1_000_000

        assert (await made.post(json=None, data=large))[2] == large
        sent = (await made.post(json=None, data=pieces()))[2]
        assert sent == b"".join([b"%04d" % number * 1000 for number in range(100)])


async def test_a_stream_comes_as_it_is_made() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.wake(replica)
        async with made.client.post(made.url("/stream"), json=HELLO) as answer:
            assert await answer.content.readuntil(b"\n\n") == b"data: one\n\n"
            replica.more.set()
            assert await answer.content.read() == b"data: two\n\n"


async def test_a_client_that_leaves_ends_its_generation() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.wake(replica)
        async with made.client.post(made.url("/stream"), json=HELLO) as answer:
            await answer.content.readuntil(b"\n\n")
            answer.close()
        async with asyncio.timeout(5):
            await replica.left.wait()


async def test_a_client_that_leaves_while_it_waits_gives_its_place_back() -> None:
    before = counted("left")
    async with activator() as made:
        asking = asyncio.create_task(made.post())
        await made.until_held(1)

        asking.cancel()

        await made.until_held(0)
    assert counted("left") == before + 1


async def test_an_answer_that_breaks_off_is_never_passed_on_as_a_whole_one() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.wake(replica)
        with pytest.raises(aiohttp.ClientPayloadError):
            await made.post("/broken")


async def test_one_too_many_is_refused_at_once_and_told_when_to_come_back() -> None:
    async with activator(max_requests=2) as made, Replica().serving() as replica:
        asking = [asyncio.create_task(made.post()) for _ in range(2)]
        await made.until_held(2)

        status, headers, body = await made.post()

        assert status == 503
        assert int(headers["Retry-After"]) > 0
        assert headers["Connection"] == "close"
        assert error_of(body)["code"] == "over_budget"
        assert "activation.maxRequests" in error_of(body)["message"]
        made.wake(replica)
        assert [status for status, _, _ in await asyncio.gather(*asking)] == [418, 418]


async def test_who_waited_too_long_is_told_so() -> None:
    async with activator(max_wait_seconds=1) as made:
        status, headers, body = await made.post()

    assert status == 503
    assert int(headers["Retry-After"]) > 0
    assert error_of(body)["code"] == "timed_out"


async def test_a_replica_that_takes_no_connection_is_tried_again() -> None:
    async with activator() as made, Replica().serving() as replica:
        gone = Replica()
        made.see(slice_body("127.0.0.1", port=gone.port))
        asking = asyncio.create_task(made.post(data=b"whole", json=None))
        await asyncio.sleep(0.1)
        assert not asking.done()

        made.wake(replica)

        assert (await asking)[2] == b"whole"


async def test_a_replica_that_never_takes_a_connection_is_not_tried_for_ever() -> None:
    async with activator(max_wait_seconds=1) as made:
        made.see(slice_body("127.0.0.1", port=Replica().port))

        async with asyncio.timeout(10):
            status, _, body = await made.post()

    assert (status, error_of(body)["code"]) == (503, "timed_out")


async def test_connections_move_to_the_replicas_once_the_activator_is_out_of_the_way() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.wake(replica)
        assert "Connection" not in (await made.post())[1]

        made.see(our_slice(port=made.port))

        assert (await made.post())[1]["Connection"] == "close"


@pytest.mark.parametrize("path", ["/health", "/ping", "/v1/models"])
async def test_what_comes_again_and_again_wakes_nobody_and_is_answered(path: str) -> None:
    async with activator() as made, made.client.get(made.url(path)) as answer:
        assert answer.status == 200
        assert made.endpoint.held == 0
        if path == "/v1/models":
            assert [one["id"] for one in (await answer.json())["data"]] == ["small"]


async def test_a_get_of_anything_else_wakes_nobody_either() -> None:
    async with activator() as made, made.client.get(made.url("/metrics")) as answer:
        assert answer.status == 503
        assert "POST does" in error_of(await answer.read())["message"]
        assert made.endpoint.held == 0


async def test_without_a_key_nobody_is_woken_where_keys_are_asked_for() -> None:
    async with activator(keys=True) as made, Replica().serving() as replica:
        status, _, body = await made.post()
        assert (status, error_of(body)["code"]) == (401, "invalid_api_key")

        asking = asyncio.create_task(made.post(headers={"Authorization": "Bearer x"}))
        await made.until_held(1)
        made.wake(replica)
        assert (await asking)[0] == 418


async def test_a_port_that_means_nobody_any_more_says_so() -> None:
    async with activator() as made:
        port, ours = made.port, our_slice(port=made.port)
        made.endpoints.saw(kinds.ENDPOINT_SLICE, ours, deleted=True)
        async with made.client.post(f"http://127.0.0.1:{port}{CHAT}", json=HELLO) as answer:
            assert answer.status == 503


async def test_doors_close_behind_endpoints_that_are_gone() -> None:
    endpoints = Endpoints()
    async with session() as upstream, aiohttp.ClientSession() as client:
        doors = Doors(endpoints, upstream, drain_seconds=1)
        first, second = free_port(), free_port()
        endpoints.saw(kinds.ENDPOINT_SLICE, our_slice(port=first), deleted=False)
        await doors.open()

        endpoints.saw(kinds.ENDPOINT_SLICE, our_slice(port=second), deleted=False)
        await doors.open()

        async with client.get(f"http://127.0.0.1:{second}/health") as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(f"http://127.0.0.1:{first}/health")
        await doors.close()
