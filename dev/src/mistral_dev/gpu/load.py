"""A load of streamed chats on one server: how fast, how soon, how evenly."""

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp

_SECONDS = 150.0
"""Of a request: the last of 256 at once, to an engine that takes 2.6 a second, ends after 100."""
_WORDS = (
    *("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world"),
    *("school", "state", "family", "student", "group", "country", "problem", "hand", "part"),
)


class StreamFailedError(Exception):
    """An answer was cut, or ended in an error."""


@dataclass
class Times:
    """Seconds of many requests that came to their end."""

    firsts: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    """Between two events of a stream, each of which is a token unless the engine is behind."""
    tokens: int = 0
    wall: float = 0.0
    failed: int = 0

    def add(self, other: "Times") -> None:
        """Add another round of the same load."""
        self.firsts += other.firsts
        self.gaps += other.gaps
        self.tokens += other.tokens
        self.wall += other.wall
        self.failed += other.failed

    def figures(self) -> dict[str, float]:
        """Return what is compared, times in milliseconds."""
        return {
            "tokens_per_second": round(self.tokens / self.wall, 1) if self.wall else 0.0,
            "first_p50": _milliseconds(self.firsts, 0.50),
            "first_p99": _milliseconds(self.firsts, 0.99),
            "gap_p50": _milliseconds(self.gaps, 0.50),
            "gap_p99": _milliseconds(self.gaps, 0.99),
            "gap_mean": round(1000 * statistics.fmean(self.gaps), 3) if self.gaps else 0.0,
            "requests": len(self.firsts),
            "failed": self.failed,
        }


@dataclass(frozen=True)
class Load:
    """What is sent."""

    url: str
    model: str
    at_once: int
    requests: int
    words: int
    tokens: int


def prompts(load: Load, seed: int) -> list[str]:
    """Return prompts that share no beginning, so that no prefix cache helps."""
    random_ = random.Random(seed)  # noqa: S311 - no secret
    return [" ".join(random_.choices(_WORDS, k=load.words)) for _ in range(load.requests)]


def run_load(load: Load, seed: int, headers: Mapping[str, str]) -> Times:
    """Send all requests, so many at a time, from a process of its own, and return the times.

    In this one the threads of other scenarios would hold up what is measured.
    """
    request = json.dumps({"load": asdict(load), "seed": seed, "headers": dict(headers)})
    command = [sys.executable, "-m", "mistral_dev.gpu.load"]
    process = subprocess.run(
        command, input=request, capture_output=True, text=True, timeout=2 * _SECONDS
    )
    if process.returncode != 0:
        raise RuntimeError(f"the load generator failed: {process.stderr[-500:]}")
    return Times(**json.loads(process.stdout))


async def _send_all(load: Load, texts: Sequence[str], headers: Mapping[str, str]) -> Times:
    remaining = list(reversed(texts))
    times = Times()
    connector = aiohttp.TCPConnector(limit=0)
    limit = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=limit, headers=headers) as client:

        async def send_in_sequence() -> None:
            while remaining:
                try:
                    times.add(await _stream(client, load, remaining.pop()))
                except (aiohttp.ClientError, StreamFailedError, TimeoutError, ValueError):
                    times.failed += 1

        started = time.perf_counter()
        await asyncio.gather(*(send_in_sequence() for _ in range(load.at_once)))
        times.wall = time.perf_counter() - started
    return times


async def _stream(client: aiohttp.ClientSession, load: Load, text: str) -> Times:
    """Send one request; return its times, with no wall clock of their own.

    Raises:
        StreamFailedError: the stream has an error, or not the usage that ends a whole one.
    """
    body: dict[str, Any] = {
        "model": load.model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": load.tokens,
        "ignore_eos": True,
        "temperature": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    times = Times()
    started = time.perf_counter()
    last = 0.0
    async with client.post(load.url, json=body) as response:
        response.raise_for_status()
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            if b'"choices"' not in line:
                raise StreamFailedError(line.decode(errors="replace"))
            if b'"usage":{' in line or b'"usage": {' in line:
                times.tokens += json.loads(line[6:])["usage"]["completion_tokens"]
                continue
            if b'"role"' in line:
                continue  # the head of the answer, before any token
            now = time.perf_counter()
            if last:
                times.gaps.append(now - last)
            else:
                times.firsts.append(now - started)
            last = now
    if not times.tokens:
        raise StreamFailedError("the stream ended without its usage")
    return times


def _milliseconds(values: Sequence[float], share: float) -> float:
    if not values:
        return 0.0
    ordered = sorted(values)
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


def _main() -> None:
    request = json.load(sys.stdin)
    load = Load(**request["load"])
    times = asyncio.run(_send_all(load, prompts(load, request["seed"]), request["headers"]))
    json.dump(asdict(times), sys.stdout)


if __name__ == "__main__":
    _main()
