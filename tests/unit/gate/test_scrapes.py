"""Scrapes of the engine's metrics cost a bounded time, however many clients scrape."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from gate_engine import Counted, Got, ask, gate
from mistral_server.contract import SERVER_TOKEN_ENV, SERVER_TOKEN_HEADER
from mistral_server.gate.asgi import Receive, Scope, Send
from mistral_server.gate.scrapes import MAX_AGE_SECONDS, Scrapes

METRICS = "/metrics"
ATTACKERS = 20


@dataclass
class Metrics:
    """An application whose metrics say how often they were rendered."""

    status: int = 200
    rendered: int = 0
    now: float = 100.0
    scopes: list[Scope] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Render the metrics; other requests arrive meanwhile."""
        self.scopes.append(scope)
        await receive()
        await asyncio.sleep(0)
        self.rendered += 1
        body = f"renderings_total {self.rendered}\n".encode()
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def clock(self) -> float:
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def engine(configure: Any) -> Metrics:
    """Return an engine with metrics."""
    return Metrics()


def scraped(engine: Metrics) -> Any:
    """Return a gate whose time is that of its engine."""
    app = gate(engine)
    app._scrapes = Scrapes(engine, engine.clock)
    return app


async def scrape(app: Any, method: str = "GET", **headers: str) -> Got:
    """Scrape the metrics."""
    return await ask(app, b"", METRICS, method=method, headers=headers.items())


async def test_many_clients_in_a_loop_get_one_rendering_a_second(engine: Metrics) -> None:
    app = scraped(engine)

    async def attack() -> set[bytes]:
        return {(await scrape(app)).body for _ in range(50)}

    for second in (1, 2, 3):
        bodies = await asyncio.gather(*(attack() for _ in range(ATTACKERS)))

        assert set.union(*bodies) == {f"renderings_total {second}\n".encode()}
        assert engine.rendered == second
        engine.now += MAX_AGE_SECONDS


async def test_a_rendering_is_never_older_than_a_second(engine: Metrics) -> None:
    app = scraped(engine)
    first = await scrape(app)
    engine.now += MAX_AGE_SECONDS * 0.99
    soon = await scrape(app)
    engine.now += MAX_AGE_SECONDS * 0.01
    later = await scrape(app)

    assert (first.body, soon.body, later.body) == (
        b"renderings_total 1\n",
        b"renderings_total 1\n",
        b"renderings_total 2\n",
    )


@pytest.mark.parametrize("header", ["accept", "accept-encoding", "x-anything"])
async def test_no_header_gets_a_rendering_of_its_own(engine: Metrics, header: str) -> None:
    app = scraped(engine)
    for number in range(5):
        await scrape(app, **{header: f"application/openmetrics-text; version=1.0.{number}, gzip"})

    assert engine.rendered == 1
    assert engine.scopes[0]["headers"] == []


async def test_each_scrape_has_an_id_of_its_own(engine: Metrics) -> None:
    app = scraped(engine)

    assert (await scrape(app)).headers["x-request-id"] != (await scrape(app)).headers[
        "x-request-id"
    ]


async def test_head_gets_the_same_rendering(engine: Metrics) -> None:
    app = scraped(engine)
    await scrape(app)

    assert (await scrape(app, "HEAD")).headers["content-length"] == "19"
    assert engine.rendered == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
async def test_no_other_method_renders_anything(engine: Metrics, method: str) -> None:
    app = scraped(engine)
    with Counted() as counted:
        got = await scrape(app, method)

    assert (got.status, got.headers["allow"]) == (405, "GET")
    assert got.json()["error"]["code"] == "method_not_supported"
    assert "send GET" in got.json()["error"]["message"]
    assert counted.moved() == {"requests_refused_total{reason=path}": 1}
    assert engine.rendered == 0


async def test_an_error_of_the_engine_is_passed_on(engine: Metrics) -> None:
    engine.status = 500
    app = scraped(engine)

    assert (await scrape(app)).status == 500


async def test_the_supervisor_always_gets_a_new_rendering(
    engine: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER_TOKEN_ENV, "secret")
    app = scraped(engine)
    for _ in range(3):
        await scrape(app, **{SERVER_TOKEN_HEADER: "secret"})

    assert engine.rendered == 3
