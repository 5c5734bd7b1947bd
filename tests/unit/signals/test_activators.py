"""What the activators say, and how the operator asks them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiohttp import web

from builders import NAME, NAMESPACE, resource_body
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import ActivatorDocument, Activators, EndpointReport
from mistral_operator.signals.activators import (
    ActivatorBoard,
    ActivatorPoller,
    addresses_in,
    changed,
    sleepers,
    together,
)
from mistral_operator.watch.store import Store

KEY = Key(NAMESPACE, NAME)
READY = ("10.0.0.8", "10.0.0.9")


def slices(*families: tuple[str, list[tuple[str, bool | None]]]) -> list[Any]:
    """Return slices of a Service."""
    return [
        {
            "addressType": family,
            "endpoints": [
                {"addresses": [address], "conditions": {} if ready is None else {"ready": ready}}
                for address, ready in endpoints
            ],
        }
        for family, endpoints in families
    ]


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        ([], ()),
        (slices(("IPv4", [("10.0.0.9", True), ("10.0.0.8", True)])), ("10.0.0.8", "10.0.0.9")),
        (slices(("IPv4", [("10.0.0.9", False), ("10.0.0.8", None)])), ("10.0.0.8",)),
        (slices(("IPv6", [("fd00::9", True)])), ("fd00::9",)),
        (slices(("IPv6", [("fd00::9", True)]), ("IPv4", [("10.0.0.9", True)])), ("10.0.0.9",)),
        ([{"addressType": "IPv4", "endpoints": None}], ()),
    ],
)
def test_the_activators_that_are_ready_are_known_by_their_service(
    given: list[Any], addresses: tuple[str, ...]
) -> None:
    assert addresses_in(given) == addresses


def document(held: int, targets: int) -> ActivatorDocument:
    """Return what an activator says of one endpoint."""
    one = EndpointReport(namespace=NAMESPACE, name=NAME, held=held, targets=targets)
    return ActivatorDocument(endpoints=(one,))


def test_what_wait_is_added_up_and_replicas_are_seen_by_all() -> None:
    known = together(READY, [document(3, 1), document(4, 2), ActivatorDocument()])

    assert (known.held[KEY], known.targets[KEY]) == (7, 2)


@pytest.mark.parametrize(
    ("before", "now", "news"),
    [
        pytest.param((0, 0), (1, 0), True, id="somebody waits"),
        pytest.param((1, 0), (9, 0), False, id="more wait"),
        pytest.param((1, 0), (0, 0), False, id="nobody waits any more"),
        pytest.param((1, 0), (1, 1), True, id="a replica is there"),
        pytest.param((0, 1), (0, 2), False, id="another replica"),
        pytest.param((0, 1), (0, 0), True, id="no replica any more"),
    ],
)
def test_news_is_what_changes_anything(
    before: tuple[int, int], now: tuple[int, int], *, news: bool
) -> None:
    earlier, later = (together((), [document(*one)]) for one in (before, now))

    assert changed(earlier, later) == ({KEY} if news else set())


# --- Asking ---------------------------------------------------------------------------------------


@dataclass
class World:
    """A cluster that knows the activators' slices, and an activator that may be mute."""

    addresses: list[str] = field(default_factory=list)
    said: ActivatorDocument = field(default_factory=ActivatorDocument)
    port: int = 0
    mute: bool = False
    reachable: bool = True
    news: list[Key] = field(default_factory=list)
    board: ActivatorBoard = field(default_factory=ActivatorBoard)

    async def list_pages(self, kind: Any, namespace: str, selector: str) -> AsyncIterator[Any]:
        """Answer as `Cluster` does."""
        assert (kind, namespace) == (kinds.ENDPOINT_SLICE, "mistral-system")
        assert selector == "kubernetes.io/service-name=activator"
        if not self.reachable:
            raise Unavailable(503, "no", "GET")
        (one,) = slices(("IPv4", [(address, True) for address in self.addresses]))
        yield [{**one, "ports": [{"port": self.port}]}], 1

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["World"]:
        app = web.Application()
        app.router.add_get("/signals", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        self.addresses = ["127.0.0.1"]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(status=200, text="" if self.mute else self.said.model_dump_json())

    def poller(self, period: float = 0.01) -> ActivatorPoller:
        return ActivatorPoller(
            cast("Cluster", self),
            namespace="mistral-system",
            service="activator",
            board=self.board,
            sleepers=lambda: [KEY],
            news=self.news.append,
            period=period,
        )


async def test_one_look_finds_the_activators_and_what_they_hold() -> None:
    async with World(said=document(3, 1)).serving() as world:
        await world.poller().once()

    assert world.board.known == together(("127.0.0.1",), [document(3, 1)])
    assert world.board.held(KEY) == 3
    assert world.news == [KEY], "its activators came"


async def test_who_has_nothing_new_is_not_looked_at() -> None:
    async with World(said=document(3, 1)).serving() as world:
        poller = world.poller()
        await poller.once()
        world.news.clear()
        world.said = document(2, 1)

        await poller.once()

    assert world.news == []
    assert world.board.held(KEY) == 2


async def test_the_last_word_of_an_activator_stands_while_it_is_ready() -> None:
    async with World(said=document(3, 1)).serving() as world:
        poller = world.poller()
        await poller.once()
        world.mute = True

        await poller.once()
        assert world.board.held(KEY) == 3

        world.addresses = []
        await poller.once()
        assert world.board.known == Activators()


async def test_the_first_look_has_to_succeed_and_later_ones_do_not() -> None:
    async with World(said=document(3, 1)).serving() as world:
        world.reachable = False
        with pytest.raises(Unavailable):
            await world.poller().once()

        world.reachable = True
        poller = world.poller()
        await poller.once()
        world.reachable = False
        task = asyncio.create_task(poller.run())
        await asyncio.sleep(0.1)
        assert not task.done()
        assert world.board.held(KEY) == 3
        world.reachable, world.said = True, document(5, 1)
        for _ in range(500):
            if world.board.held(KEY) == 5:
                break
            await asyncio.sleep(0.01)
        assert world.board.held(KEY) == 5
        task.cancel()


@pytest.mark.parametrize(
    ("spec", "sleeps"),
    [
        ({}, False),
        ({"autoscaling": {"maxReplicas": 2}}, False),
        ({"autoscaling": {"minReplicas": 1, "maxReplicas": 2}}, False),
        ({"autoscaling": {"minReplicas": 0, "maxReplicas": 2}}, True),
    ],
)
def test_those_that_may_sleep_are_found_by_their_bodies(spec: Any, *, sleeps: bool) -> None:
    store = Store(())
    store.resources.put(resource_body(spec))

    assert sleepers(store) == ([KEY] if sleeps else [])
