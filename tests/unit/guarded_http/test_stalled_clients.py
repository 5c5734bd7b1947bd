"""Clients that do not read their responses, or do not send bodies that were refused."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvloop
from aiohttp import web

from guarded_site import guarded_site
from mistral_server.guarded_http.guarded_server import Guard
from mistral_server.guarded_http.shares import Shares
from mistral_server.guarded_http.stalls import Stall
from raw_client import (
    RawConnection,
    ask,
    eventually_aborted,
    idle_connections,
    is_aborted,
    unread_connections,
)

MIB = 2**20
NEVER = 3600.0
LONG = b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /short HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
UNFINISHED = b"GET /probe HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
PROBE = b"GET /probe HTTP/1.1\r\nHost: x\r\n\r\n"

UNREAD = {
    "one response": LONG,
    "many responses": SHORT * 400,
    "many responses and no more": SHORT * 300 + LAST,
}
"""What clients send that read nothing: a response that is larger than all buffers of the kernel,
and ones that are smaller than the buffer of a connection."""

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
"""The supervisor's loop, and the one of operator and activator."""


@pytest.fixture(params=LOOPS)
def run(
    request: pytest.FixtureRequest,
) -> Callable[[Coroutine[None, None, None]], None]:
    """Return what runs a coroutine on one of the loops."""

    def run(main: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(main)

    return run


@asynccontextmanager
async def server(connections: int = 100, write_seconds: float = NEVER) -> AsyncIterator[int]:
    """Serve responses of several sizes; yield the port."""

    async def long(_: web.Request) -> web.Response:
        return web.Response(body=bytes(32 * MIB))

    async def short(_: web.Request) -> web.Response:
        return web.Response(body=bytes(60_000))

    async def probe(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/long", long)
    app.router.add_get("/short", short)
    app.router.add_get("/probe", probe)
    guard = Guard(Shares(connections), head_seconds=NEVER, write_seconds=write_seconds)
    async with guarded_site(app, guard) as port:
        yield port


@pytest.mark.parametrize("sent", UNREAD.values(), ids=UNREAD.keys())
def test_a_connection_whose_responses_are_not_read_is_aborted(
    run: Callable[[Coroutine[None, None, None]], None], sent: bytes
) -> None:
    async def main() -> None:
        async with server(write_seconds=0.5) as port, AsyncExitStack() as stack:
            unread = await unread_connections(stack, port, 3, sent)

            await eventually_aborted(unread, seconds=20)

    run(main())


@pytest.mark.parametrize("sent", UNREAD.values(), ids=UNREAD.keys())
def test_probes_are_answered_beside_any_number_of_clients_that_do_not_read(
    run: Callable[[Coroutine[None, None, None]], None], sent: bytes
) -> None:
    async def main() -> None:
        async with server(connections=20) as port, AsyncExitStack() as stack:
            unread = await unread_connections(stack, port, 20, sent)
            await asyncio.sleep(3)

            for _ in range(5):
                assert (await ask(port, PROBE)).body == b"ok"

            assert any(map(is_aborted, unread)), "the longest without progress gives way"

    run(main())


def test_probes_are_answered_beside_any_number_of_bodies_that_do_not_come(
    run: Callable[[Coroutine[None, None, None]], None],
) -> None:
    async def main() -> None:
        async with server(connections=20) as port, AsyncExitStack() as stack:
            opened = await idle_connections(stack, port, 20, UNFINISHED)
            for one in opened:
                assert (await one.response()).body == b"ok"

            for _ in range(5):
                assert (await ask(port, PROBE)).body == b"ok"

            async with asyncio.timeout(5):
                assert await opened[0].is_closed(), "the one that was answered first gives way"

    run(main())


async def test_a_probe_is_not_displaced_before_it_is_sent() -> None:
    async with server(connections=20) as port, AsyncExitStack() as stack:
        await unread_connections(stack, port, 19, LONG)
        await asyncio.sleep(2.5)
        (probe,) = await idle_connections(stack, port, 1)

        await unread_connections(stack, port, 10, LONG)
        await probe.send(PROBE)

        assert (await probe.response()).body == b"ok"


async def test_a_slow_client_is_not_cut() -> None:
    async with server(write_seconds=1.0) as port, AsyncExitStack() as stack:
        (slow,) = await unread_connections(stack, port, 1, LONG)
        # So slow that the kernel takes more from the server only every few seconds.
        for _ in range(60):
            await asyncio.sleep(0.1)
            assert await asyncio.get_running_loop().sock_recv(slow, 10_000)
            assert not is_aborted(slow)


async def test_a_client_that_reads_never_gives_way() -> None:
    async with server(connections=5) as port, AsyncExitStack() as stack:
        reading = await idle_connections(stack, port, 5, LONG)

        async def read(connection: RawConnection) -> int:
            received = 0
            while received < 32 * MIB:
                piece = await connection.reader.read(65_536)
                assert piece, "cut"
                received += len(piece)
                await asyncio.sleep(0.01)
            return received

        tasks = [asyncio.create_task(read(one)) for one in reading]
        await asyncio.sleep(2.5)
        (late,) = await idle_connections(stack, port, 1)
        async with asyncio.timeout(5):
            assert await late.is_closed()
        assert all(received < 33 * MIB for received in await asyncio.gather(*tasks))


@pytest.mark.parametrize(
    ("undelivered", "seconds"),
    [
        pytest.param([0, 0, 0], 0.0, id="nothing to deliver"),
        pytest.param([9, 9, 9], 2.0, id="nothing read"),
        pytest.param([9, 8, 7], 0.0, id="read"),
        pytest.param([7, 8, 8], 1.0, id="more written, then nothing read"),
        pytest.param([9, 0, 9], 0.0, id="all read in between"),
        pytest.param([0, 9, 9], 1.0, id="since there is something"),
    ],
)
def test_a_stall_lasts_since_the_last_progress(undelivered: list[int], seconds: float) -> None:
    stall = Stall()
    for now, size in enumerate(undelivered):
        stall.look(size, float(now))

    assert stall.seconds(2.0) == seconds
