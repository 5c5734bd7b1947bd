"""Bound what a client may send before there is a request that the gate could reject.

uvicorn holds a connection without a request forever, and with `httptools` its headers without
bound. Both of its protocols have the same attributes, and no others are used here.
"""

import importlib
import logging
from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger(__name__)

_ANSWERS = {"head_seconds": b"408 Request Timeout", "header_bytes": b"431 Headers Too Large"}
_NEEDED = ("connection_made", "data_received", "connection_lost")
_STATE = "_mistral_head"

OnRefused = Callable[[str], object]


@dataclass(slots=True)
class _Head:
    """The head that a connection is sending."""

    size: int = 0
    timer: TimerHandle | None = None

    def complete(self) -> None:
        """Begin anew: a request is being answered, or the connection is gone."""
        self.size = 0
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def bound_heads(seconds: float, limit: int, *, on_refused: OnRefused) -> None:
    """Bound the heads of all connections of this process's uvicorn.

    Args:
        seconds: time for a client to send a head.
        limit: maximum bytes of a head that is not complete; uvicorn reads up to 256 KiB at once.
        on_refused: is called with `head_seconds` or `header_bytes` for each closed connection.
    """
    try:
        protocol = importlib.import_module("uvicorn.protocols.http.auto").AutoHTTPProtocol
    except (ImportError, AttributeError):
        _log.warning("Heads of requests are not bounded: this uvicorn has no AutoHTTPProtocol")
        return
    bound(protocol, seconds, limit, on_refused)


def bound(protocol: Any, seconds: float, limit: int, on_refused: OnRefused) -> None:
    """Bound the heads of all connections of a class of uvicorn's protocols."""
    if getattr(protocol, _STATE, None) is not None:
        return  # by an earlier application of this process
    made, received, lost = (getattr(protocol, name) for name in _NEEDED)
    setattr(protocol, _STATE, True)

    def refuse(self: Any, reason: str) -> None:
        getattr(self, _STATE).complete()
        if not _awaits_head(self) or self.transport.is_closing():
            return
        on_refused(reason)
        self.transport.write(
            b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % _ANSWERS[reason]
        )
        self.transport.close()

    def wait(self: Any) -> None:
        head = getattr(self, _STATE)
        if head.timer is None:
            head.timer = self.loop.call_later(seconds, refuse, self, "head_seconds")

    def connection_made(self: Any, transport: Any) -> None:
        made(self, transport)
        setattr(self, _STATE, _Head())
        wait(self)

    def data_received(self: Any, data: bytes) -> None:
        head = getattr(self, _STATE)
        if _awaits_head(self):
            head.size += len(data)
            wait(self)
        received(self, data)
        if not _awaits_head(self):
            head.complete()
        elif head.size > limit:
            refuse(self, "header_bytes")

    def connection_lost(self: Any, error: Exception | None) -> None:
        getattr(self, _STATE).complete()
        lost(self, error)

    protocol.connection_made = connection_made
    protocol.data_received = data_received
    protocol.connection_lost = connection_lost


def _awaits_head(connection: Any) -> bool:
    """Return whether no request of a connection is being answered."""
    return connection.cycle is None or connection.cycle.response_complete
