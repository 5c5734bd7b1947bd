"""What the activators say: which are ready, what they hold, and whom they see.

The operator asks; an activator can neither change a resource nor reach the API for more than a look
at EndpointSlices. So whoever may send a request may wake an endpoint, and do nothing else.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import aiohttp

from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster, Object
from mistral_operator.kube.errors import ClusterError
from mistral_operator.kube.objects import Key, key_of
from mistral_operator.scale_to_zero import ActivatorDocument, Activators
from mistral_operator.signals.polling import bracketed, fetch
from mistral_operator.watch.facts import ready_addresses
from mistral_operator.watch.store import Store

log = logging.getLogger(__name__)

_TIMEOUT = 3.0
_MAX_BYTES = 4 * 2**20
"""Room for an endpoint on every port."""


@dataclass(slots=True)
class ActivatorBoard:
    """What is known of the activators now."""

    known: Activators = field(default_factory=Activators)

    def held(self, key: Key) -> int:
        """Return the requests that wait for an endpoint."""
        return self.known.held.get(key, 0)


class ActivatorPoller:
    """Asks the activators for ever.

    Args:
        cluster: where their Service is.
        namespace: of the operator and of the activators.
        service: name of the activators' Service.
        board: is written.
        sleepers: returns the endpoints that may sleep.
        news: is told of an endpoint that requests began to wait for, whose replicas came or went,
            or whose activators did.
        period: seconds between two looks.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        service: str,
        board: ActivatorBoard,
        sleepers: Callable[[], list[Key]],
        news: Callable[[Key], None],
        period: float = 1.0,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._selector = f"{names.LABEL_SERVICE}={service}"
        self._board = board
        self._sleepers = sleepers
        self._news = news
        self._period = period
        self._port = 0
        self._said: dict[str, ActivatorDocument] = {}

    async def once(self) -> None:
        """Ask once.

        Raises:
            ClusterError: nobody says which activators there are.
        """
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await self._look(session)

    async def run(self) -> None:
        """Ask for ever: the first endpoint that may sleep must not find none for want of a look."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await asyncio.sleep(self._period)
                try:
                    await self._look(session)
                except ClusterError as error:
                    # What was known stands.
                    log.warning("cannot list the activators: %s", error)

    async def _look(self, session: aiohttp.ClientSession) -> None:
        before = self._board.known
        slices = await self._slices()
        addresses = addresses_in(slices)
        if slices:
            self._port = slices[0]["ports"][0]["port"]
        await asyncio.gather(*(self._ask(session, one) for one in addresses))
        # One lost answer is nothing: the last word of each stands while it is ready.
        self._said = {one: self._said[one] for one in addresses if one in self._said}
        self._board.known = together(addresses, self._said.values())
        if addresses != before.addresses:
            log.info("ready activators: %s", ", ".join(addresses) or "none")
            news = {*self._sleepers()}
        else:
            news = changed(before, self._board.known)
        for key in news:
            self._news(key)

    async def _ask(self, session: aiohttp.ClientSession, address: str) -> None:
        url = f"http://{bracketed(address)}:{self._port}/signals"
        said = await fetch(session, url, ActivatorDocument, _MAX_BYTES)
        if said is not None:
            self._said[address] = said

    async def _slices(self) -> list[Object]:
        """Return the slices of the activators' Service."""
        kind = kinds.ENDPOINT_SLICE
        pages = self._cluster.list_pages(kind, self._namespace, self._selector)
        return [one async for page, _ in pages for one in page if one.get("ports")]


def sleepers(store: Store) -> list[Key]:
    """Return the endpoints that may sleep, by their bodies as users wrote them."""
    return [
        key_of(body)
        for body in store.resources.values()
        if body.get("spec", {}).get("autoscaling", {}).get("minReplicas") == 0
    ]


def addresses_in(slices: Iterable[Object]) -> tuple[str, ...]:
    """Return the ready addresses of a Service's slices, of one family, in a stable order."""
    families: dict[str, set[str]] = {"IPv4": set(), "IPv6": set()}
    for one in slices:
        families.setdefault(one["addressType"], set()).update(ready_addresses(one))
    return tuple(sorted(families["IPv4"] or families["IPv6"]))


def together(addresses: tuple[str, ...], documents: Iterable[ActivatorDocument]) -> Activators:
    """Return what all activators say together."""
    held, targets = Counter[tuple[str, str]](), dict[tuple[str, str], int]()
    for document in documents:
        for one in document.endpoints:
            key = one.namespace, one.name
            held[key] += one.held
            targets[key] = max(targets.get(key, 0), one.targets)
    return Activators(addresses, held, targets)


def changed(before: Activators, now: Activators) -> set[Key]:
    """Return the endpoints that somebody began to wait for, or whose replicas came or went."""
    keys = {*before.held, *before.targets, *now.held, *now.targets}
    return {
        Key(*key)
        for key in keys
        if bool(before.targets.get(key)) != bool(now.targets.get(key))
        or bool(now.held.get(key)) > bool(before.held.get(key))
    }
