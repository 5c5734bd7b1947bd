"""Which endpoint a port means, which replicas are ready, and who waits for one."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import ValidationError

from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body, Key, labelled_owner
from mistral_operator.scale_to_zero import ActivatorDocument, Terms, Waiting
from mistral_operator.signals.polling import bracketed
from mistral_operator.watch.facts import ready_addresses
from mistral_operator.watch.store import Shelf

FIRST_GUESS_SECONDS = 60.0
"""Time that a start takes, as long as none was seen."""


class OverBudget(Exception):
    """As many requests wait for an endpoint as may."""


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """One EndpointSlice: either ours, which has terms, or one that Kubernetes made."""

    port: int | None = None
    addresses: tuple[str, ...] = ()
    """Those that are ready."""
    terms: Terms | None = None
    """Only the operator's slices have them."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Hosts and ports of ready replicas."""
        if self.terms or not self.port:
            return ()
        return tuple(f"{bracketed(one)}:{self.port}" for one in self.addresses)


def slice_facts(body: Body) -> SliceFacts:
    """Return the facts of an EndpointSlice."""
    ports = {one.get("name"): one.get("port") for one in body.get("ports") or ()}
    addresses = tuple(sorted(ready_addresses(body)))
    return SliceFacts(ports.get(names.PORT_HTTP), addresses, _terms(body))


def _terms(body: Body) -> Terms | None:
    metadata = body["metadata"]
    if metadata.get("labels", {}).get(names.LABEL_SLICE_MANAGER) != names.MANAGED_BY:
        return None
    text = metadata.get("annotations", {}).get(names.ANNOTATION_ACTIVATION, "")
    try:
        return Terms.model_validate_json(text)
    except ValidationError:
        # Somebody's edit, which the operator takes back.
        return None


@dataclass(slots=True)
class Endpoint:
    """One endpoint that may sleep.

    Args:
        key: the resource.
        terms: how it is stood in for.
        port: where requests to it arrive.
    """

    key: Key
    terms: Terms
    port: int
    in_path: bool = False
    """Its Service leads here."""
    targets: tuple[str, ...] = ()
    """Hosts and ports of ready replicas."""
    held: int = 0
    """Requests that wait for a replica."""
    clock: Callable[[], float] = time.monotonic
    _turn: int = 0
    _waiting_since: float | None = None
    _start_seconds: float = FIRST_GUESS_SECONDS
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def update(self, terms: Terms, targets: tuple[str, ...], *, in_path: bool) -> None:
        """Take what the slices say now."""
        if targets and not self.targets and self._waiting_since is not None:
            self._start_seconds = self.clock() - self._waiting_since
            self._waiting_since = None
        self.terms, self.targets, self.in_path = terms, targets, in_path
        self._news.set()
        self._news = asyncio.Event()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places of those that wait.

        Raises:
            OverBudget: there is none.
        """
        if self.held >= self.terms.max_requests:
            raise OverBudget
        if self._waiting_since is None:
            self._waiting_since = self.clock()
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def ready(self) -> str:
        """Wait for a ready replica; return its host and port, another one each time."""
        while not self.targets:
            await self._news.wait()
        self._turn += 1
        return self.targets[self._turn % len(self.targets)]

    def retry_after(self) -> int:
        """Return the seconds after which a replica should be ready, by how long the last took."""
        waited = 0.0 if self._waiting_since is None else self.clock() - self._waiting_since
        return max(5, math.ceil(self._start_seconds - waited))


class Endpoints:
    """All endpoints that may sleep, from what the watch says.

    Args:
        changed: is called when ports may have come or gone.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._slices: Shelf[SliceFacts] = Shelf(slice_facts, labelled_owner)
        self._known: dict[Key, Endpoint] = {}

    def saw(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        """Take one event of the watch, or one object of a list."""
        if kind == kinds.ENDPOINT_SLICE:
            shelf = self._slices
            self._take(shelf.remove(body) if deleted else shelf.put(body))

    def swept(self, kind: Kind, seen: set[Key], as_of: int) -> None:
        """Forget what a full list did not hold."""
        if kind == kinds.ENDPOINT_SLICE:
            for owner in self._slices.drop_unseen(seen, as_of):
                self._take(owner)

    def ports(self) -> set[int]:
        """Return the ports on which requests may arrive."""
        return {one.port for one in self._known.values()}

    def at(self, port: int) -> Endpoint | None:
        """Return the endpoint that a port means."""
        return next((one for one in self._known.values() if one.port == port), None)

    def document(self) -> ActivatorDocument:
        """Return what the operator wants to know: who waits, and whose replicas are seen."""
        told = (
            Waiting(
                namespace=one.key.namespace,
                name=one.key.name,
                held=one.held,
                targets=len(one.targets),
            )
            for one in self._known.values()
        )
        return ActivatorDocument(endpoints=tuple(one for one in told if one.held or one.targets))

    def _take(self, owner: Key | None) -> None:
        if owner is None:
            return
        slices = list(self._slices.owned(owner))
        targets = tuple(target for one in slices for target in one.targets)
        ours = next((one for one in slices if one.terms is not None), None)
        endpoint = self._known.get(owner)
        if ours is not None and ours.terms is not None and ours.port:
            if endpoint is None or endpoint.port != ours.port:
                endpoint = self._known[owner] = Endpoint(owner, ours.terms, ours.port)
            endpoint.update(ours.terms, targets, in_path=bool(ours.addresses))
        elif endpoint is not None:
            # It sleeps no more; those that still wait need a replica all the same.
            del self._known[owner]
            endpoint.update(endpoint.terms, targets, in_path=False)
        self._changed()
