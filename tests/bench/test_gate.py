"""What the gate costs: in front of an engine that emits as fast as it can, and of the real vLLM.

With and without alternate, request by request, so that both meet the same machine.
"""

import asyncio
import base64
import itertools
import json
import os
import random
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.request import Request, urlopen

import pytest

from bench import fast_engine
from bench.three_ways import CHUNKS as FAST_CHUNKS
from bench.three_ways import CONTEXT, fast_answers
from engine_requests import token
from engine_server import BOOT_SECONDS, server_at
from gate_engine import CHAT, FakeEngine, chunk, settings, words
from hostile_requests import png
from mistral_server.contract import OPEN_PATHS, SERVER_TOKEN_HEADER
from mistral_server.gate import Gate
from mistral_server.gate.asgi import DISCONNECT
from mistral_server.gate.pace import Pace
from mistral_server.gate.reply import Reply
from mistral_server.gate.request_log import Generated, RequestLog
from server_runner import RunningServer

JSON = [(b"content-type", b"application/json")]

CHUNKS = 1000
LINES = 20_000
QUIET = {"requests": False}
"""Lines of requests would be between the figures. What one takes is measured by itself."""
ROUNDS = 30
PACED_ROUNDS = 5
REAL_ROUNDS = int(os.environ.get("MISTRAL_BENCH_ROUNDS", "12"))
REAL_TOKENS = 300

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Times:
    """Seconds of one way."""

    firsts: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)

    def line(self, name: str) -> str:
        """Return a row of the table, in microseconds but for requests a second."""
        cells = [
            1e6 * value
            for values in (self.firsts, self.gaps)
            for value in (statistics.median(values), _p99(values))
        ]
        rate = len(self.totals) / sum(self.totals)
        return f"{name:<34}" + "".join(f"{cell:>12.1f}" for cell in cells) + f"{rate:>10.2f}"


HEAD = f"\n{'':<34}{'first p50':>12}{'first p99':>12}{'gap p50':>12}{'gap p99':>12}{'req/s':>10}"


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


@pytest.mark.parametrize("kind", ["ordinary", "loop"])
def test_in_front_of_an_engine_that_emits_as_fast_as_it_can(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name, value in settings(logs=QUIET).items():
        monkeypatch.setenv(name, value)
    draw = random.Random(1)
    tokens = [draw.randrange(1000, 131_072) for _ in range(CHUNKS)]
    texts = [chunk({"content": f"word{token % 997} "}, [token]) for token in tokens]
    chunks = [*words(0), *texts] if kind == "ordinary" else words(CHUNKS, "word ")
    engine = FakeEngine(chunks=[*chunks, chunk({}, [2], "stop")])
    ways: dict[str, tuple[App, Times]] = {
        "without": (engine, Times()),
        "with the gate": (Gate(engine), Times()),
    }
    for _ in range(ROUNDS):
        for app, times in ways.values():
            asyncio.run(_stream(app, times))
    print(HEAD)
    for name, (_, times) in ways.items():
        print(times.line(f"{kind}, {name}"))
    # The shortest: other work on the machine only makes them longer.
    bare, ours = (min(times.totals) for _, times in ways.values())
    print(f"the gate takes {(ours - bare) / CHUNKS * 1e6:.2f} us a chunk")
    assert (ours - bare) / CHUNKS < 50e-6  # a wide margin: a machine may be slow


async def _stream(app: App, times: Times) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()
    parts: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]
    marks = [time.perf_counter()]

    async def receive() -> Any:
        return parts.pop(0) if parts else DISCONNECT

    async def send(message: Any) -> None:
        if message.get("body"):
            marks.append(time.perf_counter())

    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": JSON}
    await app(scope, receive, send)
    times.firsts.append(marks[1] - marks[0])
    times.gaps += [later - earlier for earlier, later in itertools.pairwise(marks[1:])]
    times.totals.append(marks[-1] - marks[0])


@pytest.mark.parametrize("at_once", [64, 256])
def test_at_the_pace_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at_once: int
) -> None:
    """Each chunk has a wake-up of its own then, and meets caches that others have used since."""
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps(fast_answers()))
    monkeypatch.setenv(fast_engine.ANSWERS_ENV, str(answers))
    for name, value in settings(engine={"context_length": CONTEXT}, logs=QUIET).items():
        monkeypatch.setenv(name, value)
    engine = cast("App", fast_engine.engine)
    ways: dict[str, App] = {"without": engine, "with the gate": Gate(engine)}
    used: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(PACED_ROUNDS):
        for name, app in ways.items():
            before = time.process_time()
            asyncio.run(_paced_streams(app, at_once))
            used[name].append((time.process_time() - before) / at_once / FAST_CHUNKS * 1e6)
    print(f"\n{f'{at_once} at once, CPU us a chunk':<34}{'least':>12}{'median':>12}")
    for name, values in used.items():
        print(f"{name:<34}{min(values):>12.1f}{statistics.median(values):>12.1f}")
    bare, ours = (min(values) for values in used.values())
    assert ours - bare < 100  # a wide margin: a machine may be slow


async def _paced_streams(app: App, count: int) -> None:
    """Take streams whose chunks come at different moments."""
    message = {"role": "user", "content": "Hi"}
    request = {"model": fast_engine.PACED, "messages": [message], "stream": True}
    body = json.dumps(request).encode()

    async def one(wait: float) -> None:
        parts: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return parts.pop(0) if parts else DISCONNECT

        async def send(_message: Any) -> None:
            return

        await asyncio.sleep(wait)
        await app({"type": "http", "method": "POST", "path": CHAT, "headers": JSON}, receive, send)

    await asyncio.gather(*(one(fast_engine.PACE_SECONDS * at / count) for at in range(count)))


def test_the_line_of_a_request() -> None:
    """From the end of a response until its line is in the pipe, with the count of the response."""
    reader, writer = os.pipe()
    drained = threading.Thread(target=_drain, args=(reader,), daemon=True)
    drained.start()
    taken = asyncio.run(_log_lines(RequestLog(OPEN_PATHS, writer)))
    os.close(writer)
    drained.join()
    print(f"\na line takes {statistics.median(taken):.1f} us, p99 {_p99(taken):.1f} us")
    assert statistics.median(taken) < 100  # a wide margin: a machine may be slow


def _drain(reader: int) -> None:
    while os.read(reader, 65_536):
        pass
    os.close(reader)


async def _no_send(_message: Any) -> None:
    return


async def _log_lines(log: RequestLog) -> list[float]:
    """Return the microseconds of each line."""
    client = ("10.1.2.3", 4711)
    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": JSON, "client": client}
    pace, taken = Pace(1, time.monotonic), []
    for _ in range(LINES):
        reply = Reply(scope, _no_send, pace, (), log)
        await reply({"type": "http.response.start", "status": 200, "headers": []})
        reply.client = "team-a"
        reply.generated = Generated(1.0, False, 812, 97, 1, "stop", 0, None, "valid")
        started = time.perf_counter()
        reply.log()
        taken.append((time.perf_counter() - started) * 1e6)
    return taken


def test_a_request_with_5_mb_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings(logs=QUIET).items():
        monkeypatch.setenv(name, value)
    data = base64.b64encode(png(640, 480)).decode() + "A" * 5_000_000
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    body = json.dumps({"messages": [{"role": "user", "content": [image]}]}).encode()
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    engine = FakeEngine()
    taken: dict[str, list[float]] = {"without": [], "with the gate": []}
    for _ in range(ROUNDS):
        for name, app in (("without", engine), ("with the gate", Gate(engine))):
            engine.bodies.clear()
            taken[name].append(asyncio.run(_upload(app, pieces)))
    print()
    for name, values in taken.items():
        print(f"5 MB of images {name:<20}{1e3 * statistics.median(values):8.2f} ms")


async def _upload(app: App, pieces: list[bytes]) -> float:
    parts: list[Any] = [{"type": "http.request", "body": one, "more_body": True} for one in pieces]
    parts.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return parts.pop(0) if parts else DISCONNECT

    async def send(_message: Any) -> None:
        return

    started = time.perf_counter()
    await app({"type": "http", "method": "POST", "path": CHAT, "headers": JSON}, receive, send)
    return time.perf_counter() - started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """Return a ready server with the real vLLM."""
    with server_at(tmp_path) as made:
        made.until_ready(BOOT_SECONDS)
        yield made


@pytest.mark.timeout(1800)
def test_in_front_of_the_real_vllm(server: RunningServer) -> None:
    shown = token(server)
    ways: dict[str, tuple[dict[str, str], Times]] = {
        "without": ({SERVER_TOKEN_HEADER: shown}, Times()),
        "with the gate": ({}, Times()),
    }
    for headers, _ in ways.values():
        _real_stream(server, headers, Times())  # warm
    for _ in range(REAL_ROUNDS):
        for headers, times in ways.values():
            _real_stream(server, headers, times)
    print(HEAD)
    for name, (_, times) in ways.items():
        print(times.line(f"vLLM {name}, {REAL_TOKENS} tokens"))


def _real_stream(server: RunningServer, headers: dict[str, str], times: Times) -> None:
    body = {
        "model": "tiny",
        "messages": [{"role": "system", "content": "X"}, {"role": "user", "content": "Hi"}],
        "max_tokens": REAL_TOKENS,
        "ignore_eos": True,
        "stream": True,
        "temperature": 1,
        "seed": len(times.totals),
    }
    request = Request(
        f"http://127.0.0.1:{server.settings.port}{CHAT}",
        json.dumps(body).encode(),
        {"content-type": "application/json", **headers},
    )
    marks = [time.perf_counter()]
    with urlopen(request, timeout=120) as answer:  # noqa: S310 - our own loopback address
        marks += [time.perf_counter() for line in answer if b'"content":"' in line]
    times.firsts.append(marks[1] - marks[0])
    times.gaps += [later - earlier for earlier, later in itertools.pairwise(marks[1:])]
    times.totals.append(marks[-1] - marks[0])
