"""Which version of the port map is in force: its ports are open."""

import asyncio
from collections.abc import Awaitable, Callable

from mistral_operator.activator.maps import MapReader

_CATCH_UP_SECONDS = 0.1
"""Interval between two reads that others request."""


class PortMap:
    """The port map, and the version of it whose ports are open.

    Args:
        reader: reads the map.
        sync: opens the ports of the map that was read last.
    """

    def __init__(self, reader: MapReader, sync: Callable[[], Awaitable[None]]) -> None:
        self.reader = reader
        self.open_version = 0
        """Resource version of the map whose ports are open."""
        self._sync = sync
        self._lock = asyncio.Lock()
        self._next_read = 0.0

    async def listen(self) -> None:
        """Open the ports of the map that was read last."""
        version = self.reader.version
        await self._sync()
        self.open_version = max(self.open_version, version)

    async def catch_up(self, version: int) -> None:
        """Read the map if a version is newer, and open its ports.

        The operator waits for the ports of an endpoint before it replaces the last replica. Anyone
        who can reach the port can request it, so it is limited.
        """
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if version <= self.open_version or now < self._next_read:
                return
            self._next_read = now + _CATCH_UP_SECONDS
            await self.reader.once()
            await self.listen()
