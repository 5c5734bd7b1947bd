"""A client that sends bytes as they are, and leaves them incomplete if a test wants that."""

import asyncio
import json
import select
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class RawResponse:
    """What a server sent until it closed the connection or its response was complete."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error in the format of the OpenAI API."""
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


@dataclass
class RawConnection:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def response(self) -> RawResponse:
        """Return the next response."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().splitlines()
            headers = {name: value for name, _, value in (one.partition(": ") for one in lines)}
            body = await self.reader.readexactly(int(headers.get("Content-Length", 0)))
        return RawResponse(int(status.split()[1]), headers, body)

    async def is_closed(self) -> bool:
        """Wait until the server closes the connection; False if it sends something instead."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()


async def ask(port: int, data: bytes) -> RawResponse:
    """Send bytes on a connection of their own and return the response."""
    connection = await RawConnection.open(port)
    try:
        await connection.send(data)
        return await connection.response()
    finally:
        connection.close()


async def idle_connections(
    stack: AsyncExitStack, port: int, count: int, sent: bytes = b""
) -> list[RawConnection]:
    """Open connections that send some bytes and then nothing, until the stack is closed."""
    opened = []
    for _ in range(count):
        opened.append(await RawConnection.open(port))
        stack.callback(opened[-1].close)
        await opened[-1].send(sent)
    return opened


async def unread_connections(
    stack: AsyncExitStack, port: int, count: int, sent: bytes
) -> list[socket.socket]:
    """Open connections that send bytes and never read, until the stack is closed."""
    loop, opened = asyncio.get_running_loop(), []
    for _ in range(count):
        one = stack.enter_context(socket.socket())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setblocking(False)
        await loop.sock_connect(one, ("127.0.0.1", port))
        await loop.sock_sendall(one, sent)
        opened.append(one)
    return opened


def is_aborted(connection: socket.socket) -> bool:
    """Return whether the server has closed a connection, without reading from it."""
    # The kernel reports an error or the end of the stream, unread bytes before it or not (tcp(7)).
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


async def eventually_aborted(connections: list[socket.socket], seconds: float) -> None:
    """Wait until the server has closed connections.

    Raises:
        TimeoutError: it has not closed all in time.
    """
    async with asyncio.timeout(seconds):
        for one in connections:
            while not is_aborted(one):  # noqa: ASYNC110 - the kernel sets no event of this loop
                await asyncio.sleep(0.02)
