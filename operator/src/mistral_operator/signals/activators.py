"""Polls the activators: which are ready, their queued requests and the replicas that they see.

The operator polls, since an activator cannot write a resource and can only read EndpointSlices of
the API. So a client that can send requests can start an endpoint, and do nothing else.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from mistral_operator.isolation import Isolation
from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError
from mistral_operator.kube.objects import Body, Key, key_of
from mistral_operator.kube.transport import Object
from mistral_operator.scale_to_zero import (
    PORT_MAP_QUERY,
    ActivatorDocument,
    Activators,
)
from mistral_operator.signals.polling import fetch_document, url_host
from mistral_operator.signals.published_ports import PublishedPorts
from mistral_operator.watch.facts import ready_addresses
from mistral_operator.watch.store import Store

log = logging.getLogger(__name__)

_TIMEOUT = 3.0
_KEPT_SECONDS = 30.0
"""How long the last document of an activator counts that is ready and does not respond. The
replicas that it saw may be gone, and then the activators would be left out of a Service."""
_MAX_BYTES = 4 * 2**20
"""Enough for one endpoint on every port."""


@dataclass(slots=True)
class ActivatorBoard:
    """The current state of the activators."""

    current: Activators = field(default_factory=Activators)

    def held(self, key: Key) -> int:
        """Return the number of queued requests of an endpoint."""
        return self.current.held.get(key, 0)


class ActivatorPoller:
    """Polls the activators.

    Args:
        cluster: the cluster of their Service.
        namespace: namespace of the operator and the activators.
        service: name of the activators' Service.
        board: receives the result.
        endpoints: returns the endpoints that can scale to zero.
        on_change: called with the key of an endpoint whose requests started to queue, or whose
            replicas, activators or port changed.
        ports: the ports that the port map gives.
        period: polling interval in seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        service: str,
        board: ActivatorBoard,
        endpoints: Callable[[], list[Key]],
        on_change: Callable[[Key], None],
        ports: PublishedPorts | None = None,
        period: float = 1.0,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._selector = f"{names.LABEL_SERVICE}={service}"
        self._board = board
        self._endpoints = endpoints
        self._on_change = on_change
        self._ports = ports or PublishedPorts()
        self._period = period
        self._due = asyncio.Event()
        self._isolation = Isolation("activator signals")
        self._port = 0
        self._documents: dict[str, tuple[float, ActivatorDocument]] = {}
        """When each activator responded last, and what."""

    def poll_now(self) -> None:
        """Poll now, since the port map changed: an endpoint waits until its port is open."""
        self._due.set()

    async def once(self) -> None:
        """Poll once.

        Raises:
            ClusterError: the activators cannot be listed.
        """
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await self._poll_all(session)

    async def run(self) -> None:
        """Poll forever, also without an endpoint that can scale to zero: the first one needs it."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._due.wait(), self._period)
                self._due.clear()
                # If it fails, the last result is kept.
                with self._isolation.of("the activators"):
                    try:
                        await self._poll_all(session)
                    except ClusterError as error:
                        log.warning("cannot list the activators: %s", error)

    async def _poll_all(self, session: aiohttp.ClientSession) -> None:
        before = self._board.current
        slices = await self._slices()
        addresses = addresses_in(slices)
        if slices:
            self._port = slices[0]["ports"][0]["port"]
        await asyncio.gather(*(self._poll(session, one) for one in addresses))
        # A failed poll is ignored: the last document of a ready activator is kept for some time.
        since = asyncio.get_running_loop().time() - _KEPT_SECONDS
        documents = {one: self._documents[one] for one in addresses if one in self._documents}
        self._documents = {one: (at, kept) for one, (at, kept) in documents.items() if at > since}
        self._board.current = aggregate(
            addresses, {one: document for one, (_, document) in self._documents.items()}
        )
        if addresses != before.addresses:
            log.info("ready activators: %s", ", ".join(addresses) or "none")
            keys = {*self._endpoints()}
        else:
            keys = changed_keys(before, self._board.current)
            keys |= self._ports.newly_known(before, self._board.current)
        for key in keys:
            with self._isolation.of(key):
                self._on_change(key)

    async def _poll(self, session: aiohttp.ClientSession, address: str) -> None:
        version = f"{PORT_MAP_QUERY}={self._ports.newest}"
        url = f"http://{url_host(address)}:{self._port}/signals?{version}"
        with self._isolation.of(address):
            document = await fetch_document(
                session, url, ActivatorDocument.model_validate_json, _MAX_BYTES
            )
            if document is not None:
                self._documents[address] = asyncio.get_running_loop().time(), document

    async def _slices(self) -> list[Object]:
        """Return the slices of the activators' Service."""
        kind = kinds.ENDPOINT_SLICE
        pages = self._cluster.list_pages(kind, self._namespace, self._selector)
        return [one async for page, _ in pages for one in page if one.get("ports")]


def keys_scaling_to_zero(store: Store) -> list[Key]:
    """Return the endpoints that can scale to zero, from the bodies in the store."""
    return [key_of(body) for body in store.resources.values() if _scales_to_zero(body)]


def _scales_to_zero(body: Body) -> bool:
    """Return whether a body says so; it may be one that no model takes."""
    spec = body.get("spec")
    autoscaling = spec.get("autoscaling") if isinstance(spec, Mapping) else None
    return isinstance(autoscaling, Mapping) and autoscaling.get("minReplicas") == 0


def addresses_in(slices: Iterable[Object]) -> tuple[str, ...]:
    """Return the ready addresses of a Service's slices, of one family, in a stable order."""
    families: dict[str, set[str]] = {"IPv4": set(), "IPv6": set()}
    for one in slices:
        families.setdefault(one["addressType"], set()).update(ready_addresses(one))
    return tuple(sorted(families["IPv4"] or families["IPv6"]))


def aggregate(addresses: tuple[str, ...], documents: Mapping[str, ActivatorDocument]) -> Activators:
    """Combine the documents of all activators, by address; one that did not answer has none."""
    held, targets = Counter[tuple[str, str]](), dict[tuple[str, str], int]()
    for document in documents.values():
        for one in document.endpoints:
            key = one.namespace, one.name
            held[key] += one.held
            targets[key] = max(targets.get(key, 0), one.targets)
    versions = {address: one.port_map for address, one in documents.items()}
    return Activators(addresses, held, targets, versions)


def changed_keys(before: Activators, now: Activators) -> set[Key]:
    """Return the endpoints whose requests started to queue, or whose replicas changed."""
    keys = {*before.held, *before.targets, *now.held, *now.targets}
    return {
        Key(*key)
        for key in keys
        if bool(before.targets.get(key)) != bool(now.targets.get(key))
        or bool(now.held.get(key)) > bool(before.held.get(key))
    }
