"""Requests to an endpoint that is scaled to zero: queued, forwarded, streamed back or rejected."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from activator_in_process import CHAT, HELLO, Replica, activator, counted, error_of
from endpoint_slices import mapped, our_slice, slice_body
from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.process import Limits, Listeners
from mistral_operator.activator.proxy import upstream_session
from server_runner import free_port


async def test_a_request_is_queued_until_a_replica_is_ready_and_then_answered() -> None:
    before = counted("forwarded")
    async with activator() as made, Replica().serving() as replica:
        pending = asyncio.create_task(made.post(data=b"a body", json=None))
        await made.until_queued(1)

        made.make_ready(replica)

        status, headers, body = await pending
        assert (status, body, headers["Content-Type"]) == (201, b"a body", "text/odd")
        assert made.endpoint.held == 0
    assert counted("forwarded") == before + 1


async def test_hop_by_hop_headers_are_removed_and_all_others_forwarded() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)
        headers = {"Authorization": "Bearer key", "Connection": "X-Private", "X-Private": "1"}

        _, got, _ = await made.post("/v1/%61?b=%20", headers=headers)

        (received,) = replica.received
        assert received.raw_path == "/v1/%61?b=%20"
        assert received.headers["Authorization"] == "Bearer key"
        assert received.headers["Host"] == f"127.0.0.1:{made.port}"
        assert received.headers["Content-Type"] == "application/json"
        assert "X-Private" not in received.headers
        assert got["X-Loop"] == "none"
        assert "X-Hop" not in got


async def test_large_and_chunked_bodies_arrive_complete() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%04d" % number * 1000

    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)
        large = b"x" * 1_000_000

        assert (await made.post(json=None, data=large))[2] == large
        sent = (await made.post(json=None, data=pieces()))[2]
        assert sent == b"".join([b"%04d" % number * 1000 for number in range(100)])


@pytest.mark.parametrize("claims", [[], ["203.0.113.7"], ["203.0.113.7, 10.0.0.4", "10.0.0.5"]])
async def test_the_address_of_the_client_is_the_last_that_a_replica_gets(claims: list[str]) -> None:
    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)

        await made.post(headers=[("X-Forwarded-For", one) for one in claims])

        (received,) = replica.received
        assert received.headers.getall("X-Forwarded-For") == [*claims, "127.0.0.1"]


async def test_a_stream_is_forwarded_chunk_by_chunk() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)
        async with made.client.post(made.url("/stream"), json=HELLO) as response:
            assert await response.content.readuntil(b"\n\n") == b"data: one\n\n"
            replica.more.set()
            assert await response.content.read() == b"data: two\n\n"


async def test_a_client_that_disconnects_cancels_its_generation() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)
        async with made.client.post(made.url("/stream"), json=HELLO) as response:
            await response.content.readuntil(b"\n\n")
            response.close()
        async with asyncio.timeout(5):
            await replica.left.wait()


async def test_a_client_that_disconnects_while_queued_frees_its_slot() -> None:
    before = counted("left")
    async with activator() as made:
        pending = asyncio.create_task(made.post())
        await made.until_queued(1)

        pending.cancel()

        await made.until_queued(0)
    assert counted("left") == before + 1


async def test_a_truncated_response_never_looks_complete() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)
        with pytest.raises(aiohttp.ClientPayloadError):
            await made.post("/broken")


async def test_a_request_to_a_full_queue_is_rejected_immediately_with_retry_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with activator(max_requests=2) as made, Replica().serving() as replica:
        pending = [asyncio.create_task(made.post()) for _ in range(2)]
        await made.until_queued(2)

        status, headers, body = await made.post()

        assert status == 503
        assert int(headers["Retry-After"]) > 0
        assert headers["Connection"] == "close"
        assert error_of(body)["code"] == "over_budget"
        assert error_of(body)["message"] == (
            "the endpoint is starting with 2 requests already queued: try again later"
        )
        assert "raise spec.rollout.maxRequests, or spec.autoscaling" in caplog.text
        made.make_ready(replica)
        assert [status for status, _, _ in await asyncio.gather(*pending)] == [201, 201]


async def test_a_request_that_is_queued_too_long_times_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with activator(max_wait_seconds=1) as made:
        status, headers, body = await made.post()

    assert status == 503
    assert int(headers["Retry-After"]) > 0
    assert error_of(body)["code"] == "timed_out"
    assert error_of(body)["message"] == (
        "the endpoint did not start within 1 second: try again later"
    )
    assert "raise spec.rollout.maxWaitSeconds, or spec.autoscaling" in caplog.text


async def test_a_replica_that_refuses_the_connection_is_retried() -> None:
    async with activator() as made, Replica().serving() as replica:
        gone = Replica()
        made.see(slice_body("127.0.0.1", port=gone.port))
        pending = asyncio.create_task(made.post(data=b"whole", json=None))
        await asyncio.sleep(0.1)
        assert not pending.done()

        made.make_ready(replica)

        assert (await pending)[2] == b"whole"


async def test_a_replica_that_never_accepts_a_connection_is_not_retried_forever() -> None:
    async with activator(max_wait_seconds=1) as made:
        made.see(slice_body("127.0.0.1", port=Replica().port))

        async with asyncio.timeout(10):
            status, _, body = await made.post()

    assert (status, error_of(body)["code"]) == (503, "timed_out")


async def test_the_next_connection_of_a_client_reaches_the_replicas() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)

        assert (await made.post())[1]["Connection"] == "close"


async def test_a_stream_says_at_its_beginning_that_it_ends_the_connection() -> None:
    """Otherwise the client would send its next request while the connection is closed."""
    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert b"connection: close" in (await reader.readuntil(b"data: one\n\n")).lower()

        made.see(our_slice(port=made.port))
        replica.more.set()

        async with asyncio.timeout(5):
            assert (await reader.read()).endswith(b"0\r\n\r\n")
        writer.close()


async def test_a_request_to_a_replica_that_has_just_stopped_waits_for_the_next_one() -> None:
    """It was not sent: the connection is refused."""
    async with activator() as made, Replica().serving() as replica:
        gone = Replica()
        made.make_ready(gone)
        pending = asyncio.create_task(made.post())
        await asyncio.sleep(0.2)
        assert not pending.done()

        made.no_replica()
        await made.until_queued(1)
        made.make_ready(replica)

        assert (await pending)[0] == 201


@pytest.mark.parametrize("path", ["/health", "/ping", "/v1/models"])
async def test_periodic_requests_are_answered_without_starting_a_replica(path: str) -> None:
    async with activator() as made, made.client.get(made.url(path)) as response:
        assert response.status == 200
        assert made.endpoint.held == 0
        if path == "/v1/models":
            assert [one["id"] for one in (await response.json())["data"]] == ["small"]


async def test_any_other_get_does_not_start_a_replica_either() -> None:
    async with activator() as made, made.client.get(made.url("/metrics")) as response:
        assert response.status == 503
        assert "a chat by POST is queued" in error_of(await response.read())["message"]
        assert made.endpoint.held == 0


async def test_a_request_without_a_required_key_does_not_start_a_replica() -> None:
    async with activator(keys=True) as made, Replica().serving() as replica:
        status, _, body = await made.post()
        assert (status, error_of(body)["code"]) == (401, "invalid_api_key")

        pending = asyncio.create_task(made.post(headers={"Authorization": "Bearer x"}))
        await made.until_queued(1)
        made.make_ready(replica)
        assert (await pending)[0] == 201


async def test_a_port_without_an_endpoint_responds_with_an_error() -> None:
    async with activator() as made:
        port = made.port
        made.endpoints.set_ports({})
        async with made.client.post(f"http://127.0.0.1:{port}{CHAT}", json=HELLO) as response:
            assert response.status == 503


async def test_the_port_of_a_deleted_endpoint_is_closed() -> None:
    endpoints = Endpoints()
    async with upstream_session() as upstream, aiohttp.ClientSession() as client:
        listeners = Listeners(endpoints, upstream, Limits(drain_seconds=1))
        first, second = free_port(), free_port()
        endpoints.set_ports({first: mapped()})
        await listeners.sync()

        endpoints.set_ports({second: mapped()})
        await listeners.sync()

        async with client.get(f"http://127.0.0.1:{second}/health") as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(f"http://127.0.0.1:{first}/health")
        await listeners.close()


async def test_listeners_that_are_closed_open_and_close_no_ports_any_more() -> None:
    endpoints = Endpoints()
    async with upstream_session() as upstream, aiohttp.ClientSession() as client:
        listeners = Listeners(endpoints, upstream, Limits(drain_seconds=1))
        first, second = free_port(), free_port()
        endpoints.set_ports({first: mapped()})
        await listeners.sync()

        closing = asyncio.create_task(listeners.close())
        endpoints.set_ports({second: mapped()})
        await asyncio.gather(closing, listeners.sync())
        await listeners.sync()

        for port in (first, second):
            with pytest.raises(aiohttp.ClientConnectorError):
                await client.get(f"http://127.0.0.1:{port}/health")


async def test_ports_close_while_the_listeners_wait_for_running_requests() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)
        async with made.client.post(made.url("/stream"), json=HELLO) as response:
            await response.content.readuntil(b"\n\n")
            closing = asyncio.create_task(made.listeners.close())
            await asyncio.sleep(0.1)

            made.endpoints.set_ports({})
            await made.listeners.sync()
            replica.more.set()

            assert await response.content.read() == b"data: two\n\n"
        await closing
