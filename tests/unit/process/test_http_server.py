"""Probes, metrics and /autoscaling of the operator."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, Gauge

from mistral_operator.control.scaler import Loads
from mistral_operator.process.http_server import Health, create_app, serve
from raw_client import ask, eventually_aborted, idle_connections, unread_connections
from scaling_operator import Operator
from server_runner import free_port

Client = TestClient[web.Request, web.Application]

_PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(stuck_after=60, clock=clock, last_heartbeat=0)


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest_asyncio.fixture
async def client(health: Health, loads: Loads) -> AsyncIterator[Client]:
    registry = CollectorRegistry()
    Gauge("depth", "A metric.", registry=registry).set(7)
    async with TestClient(TestServer(create_app(health, loads, registry))) as client:
        yield client


async def get(client: Client, path: str) -> tuple[int, str]:
    """Return status and text of a response."""
    async with client.get(path) as response:
        return response.status, await response.text()


@pytest.mark.parametrize(
    ("now", "status", "text"),
    [(0, 200, "ok\n"), (59.9, 200, "ok\n"), (60, 503, "the event loop is stuck\n")],
)
async def test_liveness_fails_without_a_recent_heartbeat(
    client: Client, clock: Clock, now: float, status: int, text: str
) -> None:
    clock.now = now

    assert await get(client, "/healthz") == (status, text)


async def test_a_heartbeat_restores_liveness(client: Client, clock: Clock, health: Health) -> None:
    clock.now = 100
    health.heartbeat()

    assert (await get(client, "/healthz"))[0] == 200


async def test_readiness_needs_a_reachable_api_server(client: Client, health: Health) -> None:
    assert await get(client, "/readyz") == (
        503,
        "the API server has not been reached yet\n",
    )

    health.problem = None

    assert await get(client, "/readyz") == (200, "ok\n")


async def test_metrics_are_in_the_format_of_prometheus(client: Client) -> None:
    async with client.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        assert "depth 7.0" in await response.text()


LOAD_PATH = "/autoscaling/models/small"


async def test_the_load_of_an_endpoint_is_served(client: Client, loads: Loads) -> None:
    operator = Operator({"autoscaling": {"maxReplicas": 4, "driver": "KEDA", "targetInFlight": 10}})
    loads.scaler = operator.scaler
    operator.hear(running=25, waiting=5, looping=3)

    status, text = await get(client, LOAD_PATH)

    assert status == 200
    assert json.loads(text) == {
        "replicas": 2.7,
        "load": 27,
        "target": 10,
        "running": 25,
        "waiting": 5,
        "held": 0,
        "looping": 3,
        "silent": 0,
    }


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        (None, "standby replica"),
        ({}, "reports its load"),
        ({"autoscaling": {"maxReplicas": 4, "targetInFlight": 10}}, "reports its load"),
        ({"autoscaling": {"maxReplicas": 4}}, "reports its load"),
    ],
    ids=["standby", "no autoscaling", "no pod reports", "no target yet"],
)
async def test_an_unavailable_load_is_an_error_and_never_zero(
    client: Client, loads: Loads, spec: dict[str, Any] | None, want: str
) -> None:
    if spec is not None:
        loads.scaler = Operator(spec).scaler

    status, text = await get(client, LOAD_PATH)

    assert status == 503
    assert want in text


async def test_the_load_of_an_unknown_endpoint_is_an_error(client: Client, loads: Loads) -> None:
    loads.scaler = Operator().scaler

    assert (await get(client, "/autoscaling/models/other"))[0] == 503


async def test_nothing_else_is_served(client: Client) -> None:
    assert (await get(client, "/"))[0] == 404


async def test_serving_ends_with_its_runner(health: Health) -> None:
    runner = await serve(create_app(health, registry=CollectorRegistry()), 0)
    assert runner.addresses

    await runner.cleanup()

    assert not runner.addresses


async def test_each_port_of_a_process_has_connections_of_its_own() -> None:
    """The second port is for probes: those who fill the first do not reach it."""
    health = Health()
    health.problem = None
    first, second = free_port(), free_port()
    runner = await serve(create_app(health), first, second)
    async with AsyncExitStack() as stack:
        await idle_connections(stack, first, 400)

        assert (await ask(second, _PROBE)).body == b"ok\n"
        assert (await ask(first, _PROBE)).body == b"ok\n"
    await runner.cleanup()


async def test_probes_are_answered_beside_any_number_of_clients_that_do_not_read(
    health: Health,
) -> None:
    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(2**23))

    app, port = create_app(health, registry=CollectorRegistry()), free_port()
    app.router.add_get("/large", large)
    runner = await serve(app, port)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        unread = await unread_connections(
            stack, port, 128, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        await asyncio.sleep(3)

        for _ in range(5):
            assert (await ask(port, _PROBE)).body == b"ok\n"
        await eventually_aborted(unread, seconds=30)
