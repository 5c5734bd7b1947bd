"""The documents of activators, and how the operator polls them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiohttp import web

from builders import NAME, NAMESPACE, resource_body
from endpoint_slices import mapped
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import Unavailable
from mistral_operator.kube.objects import Key
from mistral_operator.scale_to_zero import (
    PORT_MAP_QUERY,
    ActivatorDocument,
    Activators,
    EndpointReport,
)
from mistral_operator.signals import activators as signals_of_activators
from mistral_operator.signals.activators import (
    ActivatorBoard,
    ActivatorPoller,
    addresses_in,
    aggregate,
    changed_keys,
    keys_scaling_to_zero,
)
from mistral_operator.signals.published_ports import PublishedPorts
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
    ("own_slices", "addresses"),
    [
        ([], ()),
        (slices(("IPv4", [("10.0.0.9", True), ("10.0.0.8", True)])), ("10.0.0.8", "10.0.0.9")),
        (slices(("IPv4", [("10.0.0.9", False), ("10.0.0.8", None)])), ("10.0.0.8",)),
        (slices(("IPv6", [("fd00::9", True)])), ("fd00::9",)),
        (slices(("IPv6", [("fd00::9", True)]), ("IPv4", [("10.0.0.9", True)])), ("10.0.0.9",)),
        ([{"addressType": "IPv4", "endpoints": None}], ()),
    ],
)
def test_ready_activators_are_listed_in_the_slices_of_their_service(
    own_slices: list[Any], addresses: tuple[str, ...]
) -> None:
    assert addresses_in(own_slices) == addresses


def document(held: int, targets: int) -> ActivatorDocument:
    """Return the document of an activator with one endpoint."""
    one = EndpointReport(namespace=NAMESPACE, name=NAME, held=held, targets=targets)
    return ActivatorDocument(endpoints=(one,))


def test_queued_requests_are_summed_and_replicas_are_not() -> None:
    combined = aggregate(
        READY, {"a": document(3, 1), "b": document(4, 2), "c": ActivatorDocument()}
    )

    assert (combined.held[KEY], combined.targets[KEY]) == (7, 2)


@pytest.mark.parametrize(
    ("before", "now", "changes"),
    [
        pytest.param((0, 0), (1, 0), True, id="the first request is queued"),
        pytest.param((1, 0), (9, 0), False, id="more are queued"),
        pytest.param((1, 0), (0, 0), False, id="none is queued any more"),
        pytest.param((1, 0), (1, 1), True, id="a replica is there"),
        pytest.param((0, 1), (0, 2), False, id="another replica"),
        pytest.param((0, 1), (0, 0), True, id="no replica any more"),
    ],
)
def test_only_relevant_changes_are_reported(
    before: tuple[int, int], now: tuple[int, int], *, changes: bool
) -> None:
    earlier, later = (aggregate((), {"a": document(*one)}) for one in (before, now))

    assert changed_keys(earlier, later) == ({KEY} if changes else set())


# --- Polling --------------------------------------------------------------------------------------


@dataclass
class ActivatorService:
    """A cluster with the activators' slices, and an activator that may send an empty body."""

    addresses: list[str] = field(default_factory=list)
    document: ActivatorDocument = field(default_factory=ActivatorDocument)
    port: int = 0
    silent: bool = False
    reachable: bool = True
    changes: list[Key] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ports: PublishedPorts = field(default_factory=PublishedPorts)
    versions: list[str] = field(default_factory=list)
    """Versions of the port map that polls requested."""
    board: ActivatorBoard = field(default_factory=ActivatorBoard)

    async def list_pages(self, kind: Any, namespace: str, selector: str) -> AsyncIterator[Any]:
        """Return pages as `Cluster` does."""
        assert (kind, namespace) == (kinds.ENDPOINT_SLICE, "mistral-system")
        assert selector == "kubernetes.io/service-name=activator"
        if not self.reachable:
            raise Unavailable(503, "no", "GET")
        (one,) = slices(("IPv4", [(address, True) for address in self.addresses]))
        yield [{**one, "ports": [{"port": self.port}]}], 1

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ActivatorService"]:
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

    def _on_change(self, key: Key) -> None:
        self.changes.append(key)
        self.changed.set()

    async def _answer(self, request: web.Request) -> web.Response:
        self.versions.append(request.query[PORT_MAP_QUERY])
        return web.Response(status=200, text="" if self.silent else self.document.model_dump_json())

    def poller(self, period: float = 0.01) -> ActivatorPoller:
        return ActivatorPoller(
            cast("Cluster", self),
            namespace="mistral-system",
            service="activator",
            board=self.board,
            endpoints=lambda: [KEY],
            on_change=self._on_change,
            ports=self.ports,
            period=period,
        )


async def test_one_poll_returns_the_activators_and_their_queued_requests() -> None:
    async with ActivatorService(document=document(3, 1)).serving() as service:
        await service.poller().once()

    assert service.board.current == aggregate(("127.0.0.1",), {"127.0.0.1": document(3, 1)})
    assert service.board.held(KEY) == 3
    assert service.changes == [KEY], "its activators became ready"


async def test_an_endpoint_without_changes_is_not_reported() -> None:
    async with ActivatorService(document=document(3, 1)).serving() as service:
        poller = service.poller()
        await poller.once()
        service.changes.clear()
        service.document = document(2, 1)

        await poller.once()

    assert service.changes == []
    assert service.board.held(KEY) == 2


async def test_the_last_document_of_an_activator_is_kept_while_it_is_ready() -> None:
    async with ActivatorService(document=document(3, 1)).serving() as service:
        poller = service.poller()
        await poller.once()
        service.silent = True

        await poller.once()
        assert service.board.held(KEY) == 3

        service.addresses = []
        await poller.once()
        assert service.board.current == Activators()


async def test_the_first_poll_must_succeed_and_later_ones_are_retried() -> None:
    async with ActivatorService(document=document(3, 1)).serving() as service:
        service.reachable = False
        with pytest.raises(Unavailable):
            await service.poller().once()

        service.reachable = True
        poller = service.poller()
        await poller.once()
        service.reachable = False
        task = asyncio.create_task(poller.run())
        await asyncio.sleep(0.1)
        assert not task.done()
        assert service.board.held(KEY) == 3
        service.reachable, service.document = True, document(5, 1)
        for _ in range(500):
            if service.board.held(KEY) == 5:
                break
            await asyncio.sleep(0.01)
        assert service.board.held(KEY) == 5
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
def test_endpoints_that_can_scale_to_zero_are_listed_from_their_bodies(
    spec: Any, *, sleeps: bool
) -> None:
    store = Store(())
    store.resources.put(resource_body(spec))

    assert keys_scaling_to_zero(store) == ([KEY] if sleeps else [])


# --- Which ports are open -------------------------------------------------------------------------


FIRST, SECOND = READY


@pytest.mark.parametrize(
    ("versions", "listeners", "is_open"),
    [
        pytest.param({FIRST: 5, SECOND: 9}, READY, True, id="both listen"),
        pytest.param({FIRST: 5, SECOND: 4}, (FIRST,), True, id="one has an older map"),
        pytest.param({SECOND: 5}, (SECOND,), True, id="one does not respond"),
        pytest.param({FIRST: 0, SECOND: 5}, (SECOND,), True, id="one is of an older release"),
        pytest.param({FIRST: 4}, (SECOND,), False, id="an older map, and no response"),
        pytest.param({FIRST: 4, SECOND: 4}, (), False, id="both have an older map"),
        pytest.param({}, READY, False, id="no response so far"),
    ],
)
def test_requests_go_to_activators_that_listen_and_to_none_with_an_older_map(
    versions: dict[str, int], listeners: tuple[str, ...], *, is_open: bool
) -> None:
    """There the port may be another endpoint's."""
    ports, activators = PublishedPorts(), Activators(READY, versions=versions)
    ports.update({20_000: mapped(KEY)}, 5)

    assert ports.listeners(KEY, 20_000, activators).addresses == listeners
    assert ports.is_known(KEY, 20_000, activators) is is_open


@pytest.mark.parametrize(("entries", "port"), [({20_000: KEY}, 20_001), ({}, 20_000)])
def test_no_activator_listens_on_a_port_that_is_not_in_the_map(
    entries: dict[int, Key], port: int
) -> None:
    ports, activators = PublishedPorts(), Activators(READY, versions=dict.fromkeys(READY, 5))
    ports.update({number: mapped(key) for number, key in entries.items()}, 5)

    assert ports.listeners(KEY, port, activators).addresses == ()
    assert not ports.is_known(KEY, port, activators)


def test_a_port_that_stays_is_known_although_the_map_changes() -> None:
    ports, other = PublishedPorts(), Key(NAMESPACE, "other")
    ports.update({20_000: mapped(KEY)}, 5)
    ports.update({20_000: mapped(KEY), 20_001: mapped(other)}, 9)
    at = [Activators(READY, versions={FIRST: one, SECOND: 9}) for one in (0, 6, 9)]

    assert ports.is_known(KEY, 20_000, at[1])
    assert ports.newly_known(at[0], at[1]) == {KEY}
    assert ports.newly_known(at[1], at[2]) == {other}
    assert ports.newly_known(at[2], at[2]) == set()


async def test_a_document_of_an_activator_that_stopped_responding_counts_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The replicas that it saw may be gone, and an endpoint that starts needs the activators."""
    async with ActivatorService(document=document(0, 1)).serving() as service:
        poller = service.poller()
        await poller.once()
        assert service.board.current.targets[KEY] == 1
        service.silent = True
        service.changes.clear()

        monkeypatch.setattr(signals_of_activators, "_KEPT_SECONDS", 0.0)
        await poller.once()

    assert service.board.current == Activators(("127.0.0.1",))
    assert service.changes == [KEY]


async def test_a_changed_port_map_is_polled_at_once_and_its_endpoints_are_reconciled() -> None:
    async with ActivatorService().serving() as service:
        poller = service.poller(period=60)
        await poller.once()
        service.changes.clear()
        service.changed.clear()
        task = asyncio.create_task(poller.run())
        await asyncio.sleep(0.05)

        service.ports.update({20_000: mapped(KEY)}, 7)
        service.document = ActivatorDocument(port_map=7)
        poller.poll_now()
        async with asyncio.timeout(5):
            await service.changed.wait()
        task.cancel()

    assert service.versions == ["0", "7"]
    assert (service.changes, service.board.current.port_map) == ([KEY], 7)
