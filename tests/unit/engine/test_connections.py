"""A connection without a request is closed, and so is one whose headers have no end."""

from types import SimpleNamespace
from typing import Any

import pytest

from mistral_server.engine.connections import bound


class Transport:
    """What a protocol writes to."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        """Keep the data."""
        self.written += data

    def close(self) -> None:
        """Close."""
        self.closed = True

    def is_closing(self) -> bool:
        """Return whether it is closed."""
        return self.closed


class Loop:
    """An event loop whose time does not pass by itself."""

    def __init__(self) -> None:
        self.timers: list[Any] = []

    def call_later(self, seconds: float, function: Any, *arguments: Any) -> Any:
        """Remember a timer."""
        timer = SimpleNamespace(seconds=seconds, fire=lambda: function(*arguments))
        timer.cancel = lambda: self.timers.remove(timer)
        self.timers.append(timer)
        return timer


def connection() -> Any:
    """Return a bounded connection of a protocol that reads as uvicorn's do."""

    class Protocol:
        def __init__(self) -> None:
            self.loop, self.transport, self.cycle = Loop(), Transport(), None
            self.read = b""

        def connection_made(self, _transport: Any) -> None:
            pass

        def data_received(self, data: bytes) -> None:
            self.read += data
            if b"\r\n\r\n" in self.read:
                self.read = b""
                self.cycle = SimpleNamespace(response_complete=False)  # type: ignore[assignment]

        def connection_lost(self, _error: Exception | None) -> None:
            pass

    refused: list[str] = []
    bound(Protocol, 30, 1000, refused.append)
    bound(Protocol, 30, 1000, refused.append)  # a second application of the process
    made: Any = Protocol()
    made.refused = refused
    made.connection_made(made.transport)
    return made


@pytest.mark.parametrize("parts", [[], [b"POST /v1"], [b"GET / HTTP/1.1\r\n", b"x: ", b"y"]])
def test_a_head_has_to_arrive_in_time(parts: list[bytes]) -> None:
    one = connection()
    for part in parts:
        one.data_received(part)
    (timer,) = one.loop.timers
    assert timer.seconds == 30
    timer.fire()

    assert one.transport.closed
    assert one.transport.written.startswith(b"HTTP/1.1 408 ")
    assert one.refused == ["head_seconds"]


def test_a_head_is_limited() -> None:
    one = connection()
    one.data_received(b"GET / HTTP/1.1\r\nx: ")
    one.data_received(b"a" * 500)
    assert not one.transport.closed
    one.data_received(b"a" * 500)

    assert one.transport.written.startswith(b"HTTP/1.1 431 ")
    assert one.transport.closed
    assert one.refused == ["header_bytes"]
    assert one.loop.timers == []


def test_a_request_is_not_disturbed_and_the_next_one_is_bounded_again() -> None:
    one = connection()
    one.data_received(b"POST / HTTP/1.1\r\n\r\n" + b"a" * 5000)
    one.data_received(b"a" * 5000)
    assert one.loop.timers == []

    one.cycle.response_complete = True
    assert one.loop.timers == []  # uvicorn closes an idle connection by itself
    one.data_received(b"POST")
    (timer,) = one.loop.timers
    timer.fire()
    assert one.refused == ["head_seconds"]


def test_a_connection_that_is_gone_leaves_no_timer() -> None:
    one = connection()
    one.connection_lost(None)

    assert one.loop.timers == []
    assert one.refused == []
