"""What 20 clients that scrape in a loop cost: with the gate before the metrics, and without."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram, make_asgi_app

from gate_engine import settings
from mistral_server.gate import Gate

CLIENTS, SCRAPES = 20, 25
App = Callable[[Any, Any, Any], Awaitable[None]]


def metrics() -> App:
    """Return an application with about as many metrics as vLLM has: 68 KB."""
    registry = CollectorRegistry()
    buckets = [number / 7 for number in range(1, 28)]
    for number in range(28):
        name = f"vllm_metric_{number}_seconds"
        Histogram(name, "A histogram.", ["model"], registry=registry, buckets=buckets).labels("m")
    app: App = make_asgi_app(registry=registry)
    return app


async def scrape(app: App) -> int:
    """Scrape once; return the size of the response."""
    size = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal size
        size += len(message.get("body", b""))

    scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": []}
    await app(scope, receive, send)
    return size


async def cost(app: App) -> tuple[float, int]:
    """Return the CPU microseconds of a scrape, and its size."""

    async def attack() -> int:
        for _ in range(SCRAPES):
            size = await scrape(app)
            await asyncio.sleep(0)
        return size

    before = time.process_time()
    sizes = await asyncio.gather(*(attack() for _ in range(CLIENTS)))
    return 1e6 * (time.process_time() - before) / (CLIENTS * SCRAPES), sizes[0]


async def test_scrapes_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings().items():
        monkeypatch.setenv(name, value)
    app = metrics()
    without, size = await cost(app)
    behind, _ = await cost(Gate(app))

    print(f"\nscrape of {size} bytes: {without:.0f} us without the gate, {behind:.0f} us behind it")
    assert behind < without / 5
