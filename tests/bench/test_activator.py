"""What the activator costs: memory of a request that it holds, and time of one that it forwards."""

import asyncio
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import web

from endpoint_slices import mapped, our_slice, slice_body
from mistral_operator.activator.endpoints import Endpoint, Endpoints
from mistral_operator.activator.process import Limits, Listeners
from mistral_operator.activator.proxy import upstream_session
from mistral_operator.kube import kinds
from mistral_operator.scale_to_zero import StoredKeys, Terms
from mistral_server.contract import key_digest
from server_runner import free_port

SUPPORT = Path(__file__).parents[1] / "support"
HELD = 1000
MOST_KIB = {4_000: 30.0, 1_000_000: 200.0}
"""Of a queued request, by the size of its body, most of which stays with the client."""
ROUNDS = 20
REQUESTS = 50
CHUNKS = 50


@pytest.mark.parametrize(("size", "most"), MOST_KIB.items())
async def test_a_queued_request_takes_little_memory(size: int, most: float) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.held_activator", str(port), str(HELD)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        measured = psutil.Process(process.pid)
        before = measured.memory_info().rss
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            asking = [asyncio.create_task(_ask(client, url, size)) for _ in range(HELD)]
            await asyncio.sleep(15)
            assert not any(one.done() for one in asking)
            each = (measured.memory_info().rss - before) / HELD / 1024
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
    finally:
        process.kill()
        await process.communicate()
    print(f"\nidle {before / 2**20:.0f} MiB; {each:.1f} KiB for each of {HELD} of {size} bytes")
    assert each < most


async def _ask(client: aiohttp.ClientSession, url: str, size: int) -> None:
    async with client.post(url, data=b"x" * size):
        pass


async def test_a_forwarded_stream_is_a_little_later() -> None:
    """Side by side, in turns: the same streams from the engine, and through the activator."""
    async with (
        _engine() as engine,
        _activator(engine) as activator,
        aiohttp.ClientSession() as client,
    ):
        seen: dict[str, list[tuple[float, float]]] = {"engine": [], "activator": []}
        for turn in range(ROUNDS):
            order = [("engine", engine), ("activator", activator)]
            for name, port in order if turn % 2 else reversed(order):
                seen[name] += [await _stream(client, port) for _ in range(REQUESTS)]
    figures = {}
    for name, times in seen.items():
        first, whole = zip(*times, strict=True)
        figures[name] = statistics.median(first)
        print(
            f"\n{name:9}: first chunk p50 {statistics.median(first) * 1000:.2f} ms,"
            f" p99 {sorted(first)[len(first) * 99 // 100] * 1000:.2f} ms;"
            f" {CHUNKS} chunks p50 {statistics.median(whole) * 1000:.2f} ms"
        )
    assert figures["activator"] < figures["engine"] + 0.010


async def test_a_flood_of_made_up_keys_delays_regular_clients_little() -> None:
    """100 clients at one address send new keys all the time; another one uses its key."""
    port, endpoints = free_port(), Endpoints(is_target=lambda *_: True)
    terms = Terms(model="m", keys=True, max_wait_seconds=60, max_requests=10)
    endpoints.set_ports({port: mapped(terms=terms)})
    endpoint = endpoints.by_port(port)
    assert endpoint is not None
    url, numbers, served = f"http://127.0.0.1:{port}/v1/chat/completions", itertools.count(), []
    unlimited = aiohttp.TCPConnector(limit=0)
    async with upstream_session() as upstream, aiohttp.ClientSession(connector=unlimited) as client:
        listeners = Listeners(endpoints, upstream, Limits(drain_seconds=1))
        await listeners.sync()
        endpoint.accepted_keys.add("regular")
        endpoint.keys = StoredKeys("AAAAAAAA", "A" * 16, ("AAAAAAAA",))

        async def flood() -> None:
            while True:
                headers = {"Authorization": f"Bearer made-up-{next(numbers)}"}
                async with client.post(url, json={}, headers=headers) as answer:
                    served.append(answer.status)

        flooding = [asyncio.create_task(flood()) for _ in range(100)]
        await asyncio.sleep(1)
        delays, began = [], time.monotonic()
        for number in range(ROUNDS):
            # With a salt of its own, each round is the first request with that key.
            salt = f"{number:016}"
            digests = (key_digest(b"regular", salt),)
            endpoints.set_keys({endpoint.key: StoredKeys("AAAAAAAA", salt, digests)})
            await asyncio.sleep(0.3)
            sent = time.monotonic()
            headers = {"Authorization": "Bearer regular"}
            asking = asyncio.create_task(client.post(url, json={}, headers=headers))
            await _until_held(endpoint, 1)
            delays.append(time.monotonic() - sent)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await _until_held(endpoint, 0)
        elapsed = time.monotonic() - began
        print(
            f"\n{len(served) / elapsed:.0f} requests/s with made-up keys,"
            f" {served.count(401) / elapsed:.1f}/s of them checked;"
            f" the first request with a regular key is queued after"
            f" {statistics.median(delays) * 1000:.0f} ms, at most {max(delays) * 1000:.0f} ms"
        )
        for task in flooding:
            task.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
        await listeners.close()
    assert max(delays) < 5


async def _until_held(endpoint: Endpoint, count: int) -> None:
    while endpoint.held != count:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)


async def _stream(client: aiohttp.ClientSession, port: int) -> tuple[float, float]:
    began = time.perf_counter()
    async with client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json={}) as answer:
        await answer.content.readany()
        first = time.perf_counter() - began
        await answer.read()
    return first, time.perf_counter() - began


@asynccontextmanager
async def _engine() -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(CHUNKS):
            await response.write(f"data: {json.dumps({'chunk': number})}\n\n".encode())
            await asyncio.sleep(0)
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner, port = web.AppRunner(app, access_log=None), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


@asynccontextmanager
async def _activator(engine: int) -> AsyncIterator[int]:
    port, endpoints = free_port(), Endpoints(is_target=lambda *_: True)
    terms = Terms(model="m", max_wait_seconds=60, max_requests=10)
    endpoints.set_ports({port: mapped(terms=terms)})
    for body in (our_slice("127.0.0.1", port=port), slice_body("127.0.0.1", port=engine)):
        endpoints.on_event(kinds.ENDPOINT_SLICE, body, deleted=False)
    async with upstream_session() as upstream:
        listeners = Listeners(endpoints, upstream, Limits(drain_seconds=5))
        await listeners.sync()
        yield port
        await listeners.close()
