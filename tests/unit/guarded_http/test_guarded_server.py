"""Clients that are slow, many or malformed, against the server of every process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web

from guarded_site import guarded_site
from mistral_server.guarded_http.guarded_server import MAX_HEAD_BYTES, Guard, port_of
from mistral_server.guarded_http.shares import Shares
from raw_client import RawConnection, ask, idle_connections

PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
NEVER = 3600.0


@asynccontextmanager
async def server(connections: int = 100, head_seconds: float = NEVER) -> AsyncIterator[int]:
    """Serve /healthz, which answers `ok`, and POST, which never answers; yield the port."""

    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_get("/healthz", _ok)
    app.router.add_post("/", never)
    guard = Guard(Shares(connections), head_seconds=head_seconds)
    async with guarded_site(app, guard) as port:
        yield port


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="ok")


def head(size: int, lines: int = 1) -> bytes:
    """Return the head of a request of exactly this size, with so many long header lines."""
    start, end = b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"\r\n"
    each = (size - len(start) - len(end)) // lines
    names = [b"X-%d: " % number for number in range(lines)]
    filled = [name + b"x" * (each - len(name) - 2) + b"\r\n" for name in names]
    rest = size - len(start) - len(end) - sum(map(len, filled))
    filled[-1] = filled[-1][:-2] + b"x" * rest + b"\r\n"
    return start + b"".join(filled) + end


@pytest.mark.parametrize("lines", [1, 4, 100])
@pytest.mark.parametrize(("size", "status"), [(MAX_HEAD_BYTES, 200), (MAX_HEAD_BYTES + 1, 431)])
async def test_a_head_is_accepted_up_to_its_limit(size: int, status: int, lines: int) -> None:
    async with server() as port:
        assert (await ask(port, head(size, lines))).status == status


async def test_a_head_that_never_ends_is_refused_at_the_limit() -> None:
    async with server() as port:
        connection = await RawConnection.open(port)
        await connection.send(b"GET / HTTP/1.1\r\n")
        for number in range(17):
            await connection.send(b"X-%d: %s\r\n" % (number, b"x" * 1000))
            await asyncio.sleep(0)

        assert (await connection.response()).status == 431
        assert await connection.is_closed()
        connection.close()


async def test_a_long_body_is_no_part_of_the_head() -> None:
    async with server() as port:
        for _ in range(2):
            body = b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
            connection = await RawConnection.open(port)
            for _ in range(2):
                await connection.send(body)
                for _ in range(100):
                    await connection.send(b"x" * 1000)
                    await asyncio.sleep(0)
                assert (await connection.response()).status == 200
            connection.close()


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://internal.example/ HTTP/1.1",
        b"GET http://user:password@internal.example/ HTTP/1.1",
        b"CONNECT internal.example:443 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET HTTP/1.1",
        b"GET  HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9",
        b"NONSENSE",
        b"GET /\x00 HTTP/1.1",
        b"GET / HTTP/1.1\r\nContent-Length: x",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999999",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1\r\nBad Header: x",
        b"GET / HTTP/1.1\r\n: x",
    ],
)
async def test_a_malformed_head_is_refused_without_a_traceback(
    line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with server() as port:
        assert (await ask(port, line + b"\r\nHost: x\r\n\r\n")).status == 400
        assert (await ask(port, PROBE)).status == 200

    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("sent", [b"", b"POST /", b"GET / HTTP/1.1\r\nX: "])
async def test_a_connection_without_a_complete_head_is_closed(sent: bytes) -> None:
    async with server(head_seconds=0.2) as port, AsyncExitStack() as stack:
        for connection in await idle_connections(stack, port, 5, sent):
            async with asyncio.timeout(10):
                assert await connection.is_closed()


@pytest.mark.parametrize(
    "sent", [b"", b"POST /", b"GET /" + b"x" * 8000], ids=["none", "some", "8 KB"]
)
async def test_probes_are_answered_beside_any_number_of_idle_connections(sent: bytes) -> None:
    async with server(connections=20) as port, AsyncExitStack() as stack:
        opened = await idle_connections(stack, port, 300, sent)

        assert (await ask(port, PROBE)).body == b"ok"

        async with asyncio.timeout(5):
            assert all([await one.is_closed() for one in opened[:280]]), "the oldest give way"


async def test_a_running_request_never_gives_way() -> None:
    async with server(connections=5) as port, AsyncExitStack() as stack:
        running = await idle_connections(stack, port, 5, b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.1)

        (late,) = await idle_connections(stack, port, 1)

        async with asyncio.timeout(5):
            assert await late.is_closed()
        for one in running:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await one.is_closed()


def test_a_closed_connection_has_no_port() -> None:
    assert port_of(None) == 0
