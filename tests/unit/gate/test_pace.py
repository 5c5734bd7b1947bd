"""Responses to rejected requests keep a pace, so that those who are served notice nothing."""

import asyncio
import tracemalloc
from typing import Any

import pytest

from gate_engine import CHAT, Counted, FakeEngine, ask, gate
from mistral_server.gate.asgi import Message
from mistral_server.gate.pace import BURST_SECONDS, MAX_SECONDS, Pace

MIB = 2**20
CHAT_BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
REJECTED: dict[str, Any] = {"messages": "Hi"}


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_mistakes_that_are_few_are_not_delayed() -> None:
    pace = Pace(20, Clock())

    assert {pace.delay() for _ in range(round(20 * BURST_SECONDS))} == {0.0}


def test_further_ones_keep_the_rate() -> None:
    pace = Pace(20, Clock())
    [pace.delay() for _ in range(40)]

    assert [round(pace.delay(), 3) for _ in range(4)] == [0.05, 0.1, 0.15, 0.2]


def test_no_delay_is_longer_than_the_longest() -> None:
    pace = Pace(20, Clock())

    assert max(pace.delay() for _ in range(100_000)) == MAX_SECONDS


def test_what_came_before_is_forgotten() -> None:
    clock = Clock()
    pace = Pace(20, clock)
    [pace.delay() for _ in range(100_000)]
    clock.now += MAX_SECONDS + BURST_SECONDS

    assert {pace.delay() for _ in range(40)} == {0.0}


async def test_who_is_served_does_not_wait_for_the_rejected(configure: Any) -> None:
    configure(gate={"limits": {"refusals_per_second": 1}})
    guarded = gate(FakeEngine())
    with Counted() as counted:
        attackers = [asyncio.create_task(ask(guarded, REJECTED)) for _ in range(20)]
        await asyncio.sleep(0.1)
        served = await ask(guarded, CHAT_BODY)
        answered = [one.result().status for one in attackers if one.done()]
        for one in attackers:
            one.cancel()

    assert served.status == 200
    assert answered == [400, 400]
    assert counted.moved()["refusals_delayed_total{}"] == 18


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_what_the_engine_rejects_keeps_the_pace_too(configure: Any, status: int) -> None:
    configure(gate={"limits": {"refusals_per_second": 1}})
    guarded = gate(FakeEngine(status=status))

    assert await _at_once(guarded) == [status, status]


@pytest.mark.parametrize("status", [200, 429, 500, 503])
async def test_no_other_response_is_delayed(configure: Any, status: int) -> None:
    configure(gate={"limits": {"refusals_per_second": 1}})
    guarded = gate(FakeEngine(status=status))

    assert await _at_once(guarded) == [status] * 8


async def test_a_delayed_response_does_not_keep_the_body(configure: Any) -> None:
    configure(gate={"limits": {"refusals_per_second": 1}})
    guarded = gate(FakeEngine(status=400))
    await _at_once(guarded)
    arrived = asyncio.Event()

    async def receive() -> Message:
        arrived.set()
        return {"type": "http.request", "body": b" " * (16 * MIB), "more_body": False}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": headers}
    tracemalloc.start()
    try:
        waiting = asyncio.create_task(guarded(scope, receive, send))
        await arrived.wait()
        await asyncio.sleep(0.2)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert not waiting.done()
    waiting.cancel()
    assert kept < MIB


async def _at_once(guarded: Any) -> list[int]:
    """Send eight requests together; return the statuses of those that are answered at once."""
    tasks = [asyncio.create_task(ask(guarded, CHAT_BODY)) for _ in range(8)]
    await asyncio.sleep(0.2)
    for one in tasks:
        one.cancel()
    return [one.result().status for one in tasks if one.done() and not one.cancelled()]
