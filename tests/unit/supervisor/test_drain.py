"""When a drain is over."""

import asyncio
import time
from collections.abc import Iterable
from itertools import chain, repeat
from typing import cast

import pytest

from mistral_server.engine.client import EngineClient, EngineUnreachableError
from mistral_server.engine.vllm_metrics import EngineMetrics
from mistral_server.supervisor import drain

IDLE = EngineMetrics(progress=(7.0,))
RUNNING = EngineMetrics(running=1, progress=(7.0,))
WAITING = EngineMetrics(waiting=1, progress=(7.0,))
LATER = EngineMetrics(progress=(8.0,))


class Engine:
    """An engine that reports these metrics, and the last ones from then on."""

    def __init__(self, *reports: EngineMetrics) -> None:
        self._reports: Iterable[EngineMetrics] = chain(reports[:-1], repeat(reports[-1]))
        self.polls = 0

    async def metrics(self) -> EngineMetrics:
        self.polls += 1
        return next(iter(self._reports))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_PAUSE_SECONDS", 0.01)


async def seconds_of(engine: Engine, least: float = 0.0, kept: float = 0.0) -> float:
    """Return how long a drain of the engine waits."""
    started = time.monotonic()
    client = cast("EngineClient", engine)
    await asyncio.wait_for(drain.wait_until_idle(client, least, kept_seconds=kept), 10)
    return time.monotonic() - started


async def test_one_idle_poll_does_not_end_a_drain() -> None:
    engine = Engine(RUNNING, IDLE, WAITING, IDLE, IDLE)

    await seconds_of(engine)

    assert engine.polls == 5


async def test_an_idle_engine_is_drained_as_long_as_requests_may_arrive() -> None:
    assert await seconds_of(Engine(IDLE), least=0.2, kept=5) >= 0.2


@pytest.mark.parametrize(
    "reports",
    [(RUNNING, IDLE), (IDLE, WAITING, IDLE), (IDLE, LATER)],
    ids=["running", "waiting", "between two polls"],
)
async def test_a_client_may_use_its_connection_again_after_a_response(
    reports: tuple[EngineMetrics, ...],
) -> None:
    assert await seconds_of(Engine(*reports), kept=0.3) >= 0.3


async def test_each_request_gives_its_client_the_time_anew() -> None:
    engine = Engine(RUNNING, *[IDLE] * 8, RUNNING, IDLE)

    assert await seconds_of(engine, kept=0.3) >= 0.3 + 8 * 0.01


async def test_an_unreachable_engine_ends_a_drain(caplog: pytest.LogCaptureFixture) -> None:
    class Gone(Engine):
        async def metrics(self) -> EngineMetrics:
            raise EngineUnreachableError("gone")

    await seconds_of(Gone(IDLE), least=5)

    assert "gone" in caplog.text
