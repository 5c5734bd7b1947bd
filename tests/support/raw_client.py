"""A client that sends bytes as they are, and leaves them incomplete if a test wants that."""

import asyncio
import json
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
