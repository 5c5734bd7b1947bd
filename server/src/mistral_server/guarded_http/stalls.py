"""Whether a client still reads what a connection sends it."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios

SAMPLE_SECONDS = 1.0
"""Time after which a connection is looked at again, so the shortest pause that counts as one."""


class Stall:
    """Compares what a connection has not delivered from one look to the next. Pure."""

    __slots__ = ("_undelivered", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        """Time of the first look at the present amount, None if there is nothing to deliver."""
        self._undelivered = 0

    def look(self, undelivered: int, now: float) -> None:
        """Note how many bytes are not delivered.

        Any other number is progress, a higher one, too: the response goes on, and is not written
        any further once the buffer of the connection is full.
        """
        if not undelivered:
            self.since = None
        elif undelivered != self._undelivered or self.since is None:
            self.since = now
        self._undelivered = undelivered

    def seconds(self, now: float) -> float:
        """Return for how long nothing was delivered although there was something."""
        return 0.0 if self.since is None else now - self.since


def undelivered(transport: asyncio.WriteTransport) -> int:
    """Return how many bytes a client has not received, 0 if the kernel has room for more.

    The kernel's share counts, because the kernel takes more only after a third of its buffer is
    free, which can be more than a megabyte. A slow client would seem to be none.
    """
    written = transport.get_write_buffer_size()
    return written + _in_kernel(transport) if written else 0


def discard(transport: asyncio.WriteTransport) -> None:
    """Close a connection at once, without the bytes that its client does not read."""
    if undelivered(transport):
        # Otherwise the kernel keeps its share for minutes, in case that the client reads it.
        with contextlib.suppress(OSError, ValueError):
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
    transport.abort()


def _in_kernel(transport: asyncio.WriteTransport) -> int:
    """Return how many bytes the kernel has sent without an acknowledgment, or not yet (tcp(7))."""
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        (size,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):  # closed in the meantime
        return 0
    return int(size)
