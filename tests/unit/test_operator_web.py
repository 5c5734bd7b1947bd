"""The operator's own probes and metrics, as a kubelet and Prometheus ask for them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, Gauge

from mistral_operator.web import Health, application, serve

Client = TestClient[web.Request, web.Application]


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
    return Health(stuck_after=60, clock=clock, last_beat=0)


@pytest_asyncio.fixture
async def client(health: Health) -> AsyncIterator[Client]:
    registry = CollectorRegistry()
    Gauge("depth", "A metric.", registry=registry).set(7)
    async with TestClient(TestServer(application(health, registry))) as client:
        yield client


async def answer(client: Client, path: str) -> tuple[int, str]:
    """Return status and text of an answer."""
    async with client.get(path) as response:
        return response.status, await response.text()


@pytest.mark.parametrize(
    ("now", "status", "text"),
    [(0, 200, "ok\n"), (59.9, 200, "ok\n"), (60, 503, "the event loop is stuck\n")],
)
async def test_it_is_alive_while_it_gives_signs_of_life(
    client: Client, clock: Clock, now: float, status: int, text: str
) -> None:
    clock.now = now

    assert await answer(client, "/healthz") == (status, text)


async def test_a_sign_of_life_makes_it_alive_again(
    client: Client, clock: Clock, health: Health
) -> None:
    clock.now = 100
    health.beat()

    assert (await answer(client, "/healthz"))[0] == 200


async def test_it_is_ready_once_the_api_server_was_reached(client: Client, health: Health) -> None:
    assert await answer(client, "/readyz") == (
        503,
        "the API server has not been reached yet\n",
    )

    health.ready = True

    assert await answer(client, "/readyz") == (200, "ok\n")


async def test_metrics_are_in_the_format_of_prometheus(client: Client) -> None:
    async with client.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        assert "depth 7.0" in await response.text()


async def test_nothing_else_is_served(client: Client) -> None:
    assert (await answer(client, "/"))[0] == 404


async def test_serving_ends_with_its_runner(health: Health) -> None:
    runner = await serve(application(health, CollectorRegistry()), port=0)
    assert runner.addresses

    await runner.cleanup()

    assert not runner.addresses
