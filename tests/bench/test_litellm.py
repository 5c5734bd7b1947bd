"""What the gate costs beside a LiteLLM proxy in front of the same engine.

Every load meets the ways in all of their orders, so that what one leaves behind meets each other.
"""

import asyncio
import itertools
import json
import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop

from bench.fast_engine import FAST, PACED
from bench.three_ways import CHUNKS, WORD, Way, three_ways
from gate_engine import CHAT


@dataclass(frozen=True)
class Load:
    """What clients request, and how."""

    name: str
    stream: bool
    at_once: int
    requests: int
    """In each of the six rounds."""
    paced: bool = False

    @property
    def request(self) -> bytes:
        """A request as it is sent; its answer has the usage, so no tokens have to be counted."""
        message = {"role": "user", "content": "What can you tell me about the weather in Paris?"}
        model = PACED if self.paced else FAST
        payload = {"model": model, "messages": [message], "max_tokens": 1000}
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        body = json.dumps(payload | stream if self.stream else payload)
        head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        return f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()


LOADS = (
    Load("streamed, 1 at a time", stream=True, at_once=1, requests=20),
    Load("streamed, 16 at once", stream=True, at_once=16, requests=64),
    Load("in one piece, 1 at a time", stream=False, at_once=1, requests=200),
    Load("in one piece, 16 at once", stream=False, at_once=16, requests=320),
    Load("a chunk every 20 ms, 16 at once", stream=True, at_once=16, requests=16, paced=True),
)


@dataclass
class Times:
    """Seconds of one way under one load."""

    firsts: list[float] = field(default_factory=list)
    """To the first chunk with text, or to the end of an answer in one piece."""
    gaps: list[float] = field(default_factory=list)
    wall: float = 0
    cpu: float = 0

    @property
    def first(self) -> float:
        """The median."""
        return statistics.median(self.firsts)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.firsts) / self.wall

    @property
    def cpu_each(self) -> float:
        """CPU seconds of a request, in all processes that it passes."""
        return self.cpu / len(self.firsts)

    def line(self, name: str) -> str:
        """Return a row of the table: milliseconds, but for requests a second."""
        values = [self.first, _p99(self.firsts)]
        values += [statistics.median(self.gaps), _p99(self.gaps)] if self.gaps else []
        cells = [f"{1e3 * value:.3f}" for value in values] + [""] * (4 - len(values))
        cells += [f"{self.rate:.1f}", f"{1e3 * self.cpu_each:.2f}"]
        return f"  {name:<16}" + "".join(f"{cell:>11}" for cell in cells)


HEAD = f"{'':<18}" + "".join(
    f"{title:>11}"
    for title in ("first p50", "first p99", "gap p50", "gap p99", "req/s", "CPU each")
)


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


@pytest.mark.timeout(1800)  # six to ten minutes where other work shares two cores
def test_beside_a_litellm_proxy(tmp_path: Path) -> None:
    with (
        three_ways(tmp_path) as ways,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        taken = {load: {way.name: Times() for way in ways} for load in LOADS}
        for load, way in itertools.product(LOADS, ways):
            runner.run(_ask_all(way, load, Times()))  # warm
        for order in itertools.permutations(ways):
            for load, way in itertools.product(LOADS, order):
                runner.run(_ask_all(way, load, taken[load][way.name]))
        memory = [way.processes[0].memory_info().rss for way in ways]
    _print(taken, {way.name: used for way, used in zip(ways, memory, strict=True)})
    for load, times in taken.items():
        _, gate, proxy = times.values()
        assert gate.first < proxy.first, load.name
        assert gate.cpu_each < proxy.cpu_each, load.name
        if not load.paced:
            assert gate.rate > proxy.rate, load.name
    alone_memory, gate_memory, proxy_memory = memory
    assert gate_memory - alone_memory < proxy_memory


def _print(taken: Mapping[Load, Mapping[str, Times]], memory: Mapping[str, int]) -> None:
    print(f"\n{HEAD}")
    for load, times in taken.items():
        print(load.name)
        for name, one in times.items():
            print(one.line(name))
    print("resident MiB: " + ", ".join(f"{name} {used >> 20}" for name, used in memory.items()))


async def _ask_all(way: Way, load: Load, times: Times) -> None:
    """Send the requests of a round, so many at once."""
    clients = [await Client.connected(way.port) for _ in range(load.at_once)]

    async def ask(client: Client) -> None:
        for _ in range(load.requests // load.at_once):
            began = time.perf_counter()
            marks = [moment - began for moment in await client.ask(load.request)]
            assert len(marks) == CHUNKS
            times.firsts.append(marks[0])
            if load.stream:
                times.gaps += [later - earlier for earlier, later in itertools.pairwise(marks)]

    cpu, began = way.cpu_seconds(), time.perf_counter()
    await asyncio.gather(*map(ask, clients))
    times.wall += time.perf_counter() - began
    times.cpu += way.cpu_seconds() - cpu
    for client in clients:
        await client.close()


@dataclass
class Client:
    """A connection that does the least a client can: the machine has two cores for all."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connected(cls, port: int) -> "Client":
        """Connect to a server on loopback."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        await self.writer.wait_closed()

    async def ask(self, request: bytes) -> list[float]:
        """Send a request and return when each word of the answer was read."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if length is not None:
            body = await self.reader.readexactly(int(length[1]))
            return [time.perf_counter()] * body.count(WORD)
        marks: list[float] = []
        rest = b""  # of the read before, which may end within a word
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            part = await self.reader.read(1 << 16)
            assert part, "the server hung up"
            marks += [time.perf_counter()] * _words_that_end(rest, part)
            rest = (rest + part)[-8:]
        return marks


def _words_that_end(rest: bytes, part: bytes) -> int:
    """Return how many words end in `part`, which follows `rest`."""
    return (rest + part).count(WORD) - rest.count(WORD)
