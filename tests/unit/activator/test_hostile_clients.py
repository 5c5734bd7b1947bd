"""Clients that take more than their share of the activator, or send what is no request."""

import asyncio
import logging
import resource
from contextlib import AsyncExitStack
from typing import Any

import pytest

from activator_in_process import CHAT, Activator, Replica, activator
from builders import NAMESPACE
from mistral_operator.activator.body import TimedBody
from mistral_operator.activator.budget import memory_of_request
from mistral_operator.activator.process import Limits, affordable
from mistral_operator.activator.quiet_log import QuietLog
from raw_client import (
    RawConnection,
    ask,
    eventually_aborted,
    idle_connections,
    unread_connections,
)
from virtual_time import run

KIB = 1024


def post(path: str = CHAT, body: bytes = b"{}", headers: bytes = b"", length: int = 0) -> bytes:
    """Return a request; `length` announces more than `body`."""
    size = length or len(body)
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % (path.encode(), size)
    return head + headers + b"\r\n" + body


async def queue(
    stack: AsyncExitStack, made: Activator, count: int, request: bytes, port: int | None = None
) -> list[RawConnection]:
    """Send requests that wait for a replica."""
    return await idle_connections(stack, port or made.port, count, request)


async def test_a_head_above_the_limit_of_the_standard_library_is_forwarded() -> None:
    async with activator() as made, Replica().serving() as replica:
        made.make_ready(replica)
        cookie = "x" * 15_000

        status, _, _ = await made.post(headers={"Cookie": cookie})

        assert status == 201
        assert replica.received[0].headers["Cookie"] == cookie


@pytest.mark.parametrize(
    ("request_line", "headers", "status", "code"),
    [
        pytest.param(CHAT, b"Cookie: %s\r\n" % (b"x" * 20_000), 431, "invalid_request", id="line"),
        pytest.param(CHAT, b"A: %s\r\n" % (b"x" * 700) * 100, 431, "invalid_request", id="many"),
        pytest.param("http://internal/", b"", 400, "invalid_request", id="absolute form"),
        pytest.param("http://u:p@internal/", b"", 400, "invalid_request", id="userinfo"),
        pytest.param("internal:443", b"", 400, "invalid_request", id="authority form"),
        pytest.param(CHAT, b"Bad Name: x\r\n", 400, "invalid_request", id="header name"),
    ],
)
async def test_a_malformed_request_receives_an_error_of_the_openai_api(
    request_line: str,
    headers: bytes,
    status: int,
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with activator() as made:
        response = await ask(made.port, post(request_line, headers=headers))

        assert (response.status, response.error["code"]) == (status, code)
        assert made.endpoint.held == 0
    assert "Traceback" not in caplog.text


async def test_a_namespace_cannot_take_the_memory_of_another() -> None:
    large = memory_of_request(KIB, 2**20)
    limits = Limits(request_bytes=12 * large)
    async with activator(limits, max_requests=1000) as made, AsyncExitStack() as stack:
        other = await made.add("victim", max_requests=1000)
        body = post(length=2**20)

        greedy = await queue(stack, made, 30, body)
        refused = [await one.response() for one in greedy[9:]]
        await made.until_queued(9)

        assert {(one.status, one.error["code"]) for one in refused} == {(503, "over_budget")}
        assert all(int(one.headers["Retry-After"]) > 0 for one in refused)
        await queue(stack, made, 3, body, other)
        endpoint = made.endpoints.by_port(other)
        assert endpoint is not None
        await _until(lambda: endpoint.held == 3)


async def test_a_request_that_ends_gives_its_memory_back() -> None:
    limits = Limits(request_bytes=memory_of_request(2 * KIB, 100))
    async with activator(limits) as made, Replica().serving() as replica:
        made.make_ready(replica)
        for _ in range(3):
            assert (await made.post())[0] == 201


async def test_a_namespace_cannot_take_the_connections_of_another() -> None:
    limits = Limits(connections=20)
    async with activator(limits, max_requests=1000) as made, AsyncExitStack() as stack:
        other = await made.add("victim", max_requests=1000)

        opened = await queue(stack, made, 50, post())
        await made.until_queued(15)
        for late in opened[15:]:
            assert await late.is_closed()

        response = await ask(other, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert response.status == 200
        assert made.endpoint.held == 15


async def test_a_caller_is_served_beside_hundreds_of_idle_connections_to_its_endpoint() -> None:
    limits = Limits(connections=50)
    async with (
        activator(limits) as made,
        Replica().serving() as replica,
        AsyncExitStack() as stack,
    ):
        await idle_connections(stack, made.port, 400, b"POST /")
        made.make_ready(replica)

        assert (await made.post())[0] == 201


async def test_a_body_that_pauses_too_long_ends_its_request() -> None:
    limits = Limits(stall_seconds=0.2)
    async with activator(limits) as made, Replica().serving() as replica, AsyncExitStack() as stack:
        made.make_ready(replica)
        (slow,) = await idle_connections(stack, made.port, 1, post(body=b"x", length=100))

        response = await slow.response()

        assert (response.status, response.error["code"]) == (408, "too_slow")


def test_a_body_that_trickles_ends_its_request_as_well() -> None:
    class Trickle:
        async def readany(self) -> bytes:
            await asyncio.sleep(20)
            return b"x"

    body = TimedBody(Trickle(), 30, 600)  # type: ignore[arg-type]  # its one method

    async def read() -> None:
        async for _ in body:
            pass

    with pytest.raises(TimeoutError):
        run(read())
    assert body.too_slow


async def test_a_response_that_is_not_read_is_given_up() -> None:
    limits = Limits(write_seconds=0.5)
    async with activator(limits) as made, Replica().serving() as replica, AsyncExitStack() as stack:
        made.make_ready(replica)
        unread = await unread_connections(stack, made.port, 2, post(body=bytes(8 * KIB * KIB)))

        await eventually_aborted(unread, seconds=20)


async def test_a_caller_is_served_beside_clients_that_do_not_read_their_responses() -> None:
    limits = Limits(connections=8)
    async with activator(limits) as made, Replica().serving() as replica, AsyncExitStack() as stack:
        made.make_ready(replica)
        await unread_connections(stack, made.port, 8, post(body=bytes(8 * KIB * KIB)))
        await asyncio.sleep(3)

        assert (await made.post())[0] == 201


async def test_a_caller_is_served_beside_refused_requests_whose_bodies_do_not_come() -> None:
    async with activator(Limits(connections=20), keys=True) as made, AsyncExitStack() as stack:
        made.publish_keys("right")
        for refused in await idle_connections(stack, made.port, 20, post(length=100_000)):
            assert (await refused.response()).status == 401

        for _ in range(3):
            assert (await ask(made.port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200


async def test_the_log_does_not_grow_with_the_number_of_refused_requests(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with activator(max_requests=1) as made, AsyncExitStack() as stack:
        await queue(stack, made, 1, post())
        await made.until_queued(1)

        for _ in range(50):
            assert (await ask(made.port, post())).status == 503

    (record,) = caplog.records
    assert f"{NAMESPACE}/" in record.message
    assert "raise spec.rollout.maxRequests, or spec.autoscaling" in record.message


def test_a_quiet_log_says_how_many_warnings_it_left_out(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    quiet = QuietLog(logging.getLogger("quiet"), interval=60, clock=lambda: now[0])

    for second in range(121):
        now[0] = second
        quiet.warning("full", "it is full")
    quiet.warning("other", "something else")

    assert [one.message for one in caplog.records] == [
        "it is full",
        "it is full (59 more since the last warning)",
        "it is full (59 more since the last warning)",
        "something else",
    ]


@pytest.mark.parametrize(
    ("limits", "possible"),
    [
        ((1_024, 1_048_576), 2000),
        ((1_048_576, 1_048_576), 2000),
        ((6_000, 6_000), 1500),
        ((1_024, 1_024), 256),
    ],
)
def test_open_files_allow_the_connections_or_fewer_are_taken(
    limits: tuple[int, int],
    possible: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    changed: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: changed.append(new))

    assert affordable(2000) == possible

    needed = 2 * 2000 + 4_500
    assert changed == ([(min(needed, limits[1]), limits[1])] if limits[0] < needed else [])
    assert ("limit of open files" in caplog.text) == (possible < 2000)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)
