"""The body of a request while it is forwarded: within time limits."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import StreamReader

STALL_SECONDS = 30.0
"""Time without any data after which a client is considered gone."""
BODY_SECONDS = 600.0
"""Time for a whole body: 64 MiB at about 1 Mbit/s."""


class TimedBody:
    """Yields a body piece by piece, until it is complete or its client too slow."""

    def __init__(
        self,
        content: StreamReader,
        stall_seconds: float = STALL_SECONDS,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._content = content
        self._stall_seconds = stall_seconds
        self._body_seconds = body_seconds
        self.too_slow = False
        """Whether the client exceeded a limit."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body.

        Raises:
            TimeoutError: the client is too slow.
        """
        end = asyncio.get_running_loop().time() + self._body_seconds
        while True:
            left = end - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(min(self._stall_seconds, left)):
                    piece = await self._content.readany()
            except TimeoutError:
                self.too_slow = True
                raise
            if not piece:
                return
            yield piece
