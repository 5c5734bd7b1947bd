"""Bodies arrive within bounds of size and time, on every path."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gate_engine import CHAT, Counted, FakeEngine, gate
from mistral_server.contract import OPEN_PATHS
from mistral_server.gate.asgi import Message

MIB = 2**20


class Client:
    """Sends a body part by part, as many as are read."""

    def __init__(self, parts: Iterator[bytes], path: str, *, waits: bool = False) -> None:
        self.sent = 0
        self.answer: list[Message] = []
        self._parts = parts
        self._path = path
        self._waits = waits
        self.waiting = asyncio.Event()

    async def receive(self) -> Message:
        """Return the next part; a client that waits sends nothing more."""
        part = next(self._parts, None)
        if part is None and self._waits:
            self.waiting.set()
            await asyncio.Event().wait()
        self.sent += len(part or b"")
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(self, message: Message) -> None:
        """Keep a part of the answer."""
        self.answer.append(message)

    async def call(self, app: Any) -> int:
        """Send the request in chunks; return the status."""
        headers = [(b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": self._path, "headers": headers}
        await app(scope, self.receive, self.send)
        status: int = self.answer[0]["status"]
        return status


def chunks(count: int) -> Iterator[bytes]:
    """Yield chunks of a mebibyte."""
    return (b" " * MIB for _ in range(count))


@asynccontextmanager
async def waiting(app: Any, mebibytes: int) -> AsyncIterator[None]:
    """Have a client that sends so much and then nothing more."""
    client = Client(chunks(mebibytes), CHAT, waits=True)
    task = asyncio.create_task(client.call(app))
    await client.waiting.wait()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


UNREAD = ("/v1/models/*", "/metrics")
"""Paths where no body is read: one is a pattern, the other has no method with a body."""


@pytest.mark.parametrize("path", [one for one in OPEN_PATHS if one not in UNREAD])
async def test_a_chunked_body_is_limited_on_every_path(configure: Any, path: str) -> None:
    configure(gate={"max_body_bytes": 4 * MIB})
    engine, client = FakeEngine(), Client(chunks(300), path)
    with Counted() as counted:
        assert await client.call(gate(engine)) == 413

    assert client.sent == 5 * MIB
    assert (b"connection", b"close") in client.answer[0]["headers"]
    assert engine.bodies == []
    assert counted.moved() == {"requests_refused_total{reason=body_too_large}": 1}


async def test_all_bodies_together_are_limited_while_they_arrive(configure: Any) -> None:
    configure(gate={"limits": {"received_bytes": 4 * MIB}})
    app = gate(FakeEngine())
    with Counted() as counted:
        async with waiting(app, 2), waiting(app, 1):
            late = Client(chunks(2), CHAT)
            assert await late.call(app) == 503
            assert (b"retry-after", b"5") in late.answer[0]["headers"]
        assert await Client(iter([b'{"messages":[{"role":"user"}]}']), CHAT).call(app) == 200
    assert counted.moved()["requests_refused_total{reason=received_bytes}"] == 1


async def test_a_body_has_to_arrive_in_time(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []

    def at_once(seconds: float) -> asyncio.Timeout:
        limits.append(seconds)
        return asyncio.timeout_at(0)

    monkeypatch.setattr("mistral_server.gate.body.asyncio.timeout", at_once)
    client = Client(chunks(1), CHAT, waits=True)
    with Counted() as counted:
        assert await client.call(gate(FakeEngine())) == 408

    assert limits == [300]
    assert counted.moved() == {"requests_refused_total{reason=body_seconds}": 1}


async def test_a_request_without_a_body_is_not_waited_for(configure: Any) -> None:
    engine = FakeEngine()
    client = Client(iter(()), "/v1/models", waits=True)
    scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": []}
    await gate(engine)(scope, client.receive, client.send)

    assert client.answer[0]["status"] == 200
