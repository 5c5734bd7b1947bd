"""24 hours of traffic squeezed into minutes: the gate's memory is flat.

An endpoint of two GPUs answers some 35 requests a minute: 50,000 a day, many of them at once.
"""

import asyncio
import gc
import os
import random
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from mistral_server.gate import Gate
from tool_call_corpus import corpus
from tool_call_wire import choices_of, chunks_of, request_of
from unit.gate_engine import FakeEngine, ask, choice, chunk, settings, words

REQUESTS = int(os.environ.get("MISTRAL_BENCH_SOAK", "50000"))
AT_ONCE = 32
LOOKS = 10
MOST_GROWTH_MIB = 8.0
"""Between the second tenth, when all caches are full, and the last."""


@pytest.mark.timeout(3600)
def test_a_day_of_traffic_leaves_no_memory_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings(gate={"loops": {"action": "Stop"}}).items():
        monkeypatch.setenv(name, value)
    seen = asyncio.run(_soak())
    print(
        f"\n{REQUESTS} requests, resident MiB after each tenth: {[round(one, 1) for one in seen]}"
    )
    assert seen[-1] - seen[1] < MOST_GROWTH_MIB


async def _soak() -> list[float]:
    process, traffic = psutil.Process(), _traffic(random.Random(1))
    seen: list[float] = []
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(engine: FakeEngine, body: dict[str, Any], leaves: int | None) -> None:
        async with slots:
            await ask(Gate(engine), body, leaves_after=leaves)

    for _ in range(LOOKS):
        await asyncio.gather(*(one(*next(traffic)) for _ in range(REQUESTS // LOOKS)))
        gc.collect()
        seen.append(process.memory_info().rss / 2**20)
    return seen


def _traffic(random_: random.Random) -> Iterator[tuple[FakeEngine, dict[str, Any], int | None]]:
    """Yield what an engine answers, what is asked, and after how many messages a client leaves."""
    entries = corpus()
    hello = {"messages": [{"role": "user", "content": "Hi"}]}
    while True:
        kind = random_.random()
        if kind < 0.4:
            entry = random_.choice(entries)
            engine = FakeEngine(choices_of(entry), chunks_of(entry) if entry.stream else None)
            yield engine, request_of(entry), None
        elif kind < 0.7:
            said = [chunk({"content": str(random_.random())}, [random_.randrange(9000)])] * 30
            yield FakeEngine(chunks=[*said, chunk({}, [2], "stop")]), hello | {"stream": True}, None
        elif kind < 0.8:
            yield FakeEngine(chunks=words(600)), hello | {"stream": True}, None
        elif kind < 0.9:
            leaves = random_.randrange(1, 40)
            yield FakeEngine(chunks=words(60)), hello | {"stream": True}, leaves
        else:
            ids = [random_.randrange(9000) for _ in range(400)]
            yield FakeEngine([choice("x" * 900, ids=ids)]), hello, None
