"""The endpoints of the activator: their ports, ready replicas and queued requests."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import ValidationError

from mistral_operator.activator.quiet_log import QuietLog
from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body, Key, labeled_owner
from mistral_operator.scale_to_zero import ActivatorDocument, EndpointReport, Terms
from mistral_operator.signals.polling import url_host
from mistral_operator.watch.facts import ready_addresses
from mistral_operator.watch.store import Index

log = logging.getLogger(__name__)

DEFAULT_START_SECONDS = 60.0
"""Estimated duration of a start until one was measured."""


class LimitExceeded(Exception):
    """The queue of an endpoint is full."""


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """One EndpointSlice, either of the operator (with terms) or of Kubernetes."""

    port: int | None = None
    addresses: tuple[str, ...] = ()
    """Ready addresses."""
    terms: Terms | None = None
    """Set only in slices of the operator."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Hosts and ports of ready replicas."""
        if self.terms or not self.port:
            return ()
        return tuple(f"{url_host(one)}:{self.port}" for one in self.addresses)


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
        # A foreign edit, which the operator reverts.
        return None


@dataclass(slots=True)
class Endpoint:
    """One endpoint that can scale to zero.

    Args:
        key: the resource.
        terms: how the activator serves in place of it.
        port: port of the activator that receives its requests.
    """

    key: Key
    terms: Terms
    port: int
    in_path: bool = False
    """Whether its Service routes to the activator."""
    targets: tuple[str, ...] = ()
    """Hosts and ports of ready replicas."""
    held: int = 0
    """Number of queued requests."""
    clock: Callable[[], float] = time.monotonic
    log: QuietLog = field(default_factory=lambda: QuietLog(log))
    """Warnings about its requests."""
    _next_target: int = 0
    _waiting_since: float | None = None
    _start_seconds: float = DEFAULT_START_SECONDS
    _updated: asyncio.Event = field(default_factory=asyncio.Event)

    def update(self, terms: Terms, targets: tuple[str, ...], *, in_path: bool) -> None:
        """Set the state that the slices report."""
        if targets and not self.targets and self._waiting_since is not None:
            self._start_seconds = self.clock() - self._waiting_since
            self._waiting_since = None
        self.terms, self.targets, self.in_path = terms, targets, in_path
        self._updated.set()
        self._updated = asyncio.Event()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Occupy one slot of the queue.

        Raises:
            LimitExceeded: the queue is full.
        """
        if self.held >= self.terms.max_requests:
            raise LimitExceeded
        if self._waiting_since is None:
            self._waiting_since = self.clock()
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def ready_target(self) -> str:
        """Wait for a ready replica and return its host and port, round robin."""
        while not self.targets:
            await self._updated.wait()
        self._next_target += 1
        return self.targets[self._next_target % len(self.targets)]

    def retry_after(self) -> int:
        """Return the seconds until a replica should be ready, as long as the last start took."""
        waited = 0.0 if self._waiting_since is None else self.clock() - self._waiting_since
        return max(5, math.ceil(self._start_seconds - waited))


class Endpoints:
    """All endpoints that can scale to zero, from the watched slices.

    Args:
        changed: called when the set of ports may have changed.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._slices: Index[SliceFacts] = Index(slice_facts, labeled_owner)
        self._endpoints: dict[Key, Endpoint] = {}

    def on_event(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        """Process a watch event, or an object of a list."""
        if kind == kinds.ENDPOINT_SLICE:
            index = self._slices
            self._refresh(index.remove(body) if deleted else index.put(body))

    def replace(self, kind: Kind, listed: set[Key], as_of: int) -> None:
        """Remove the slices that a full list does not contain."""
        if kind == kinds.ENDPOINT_SLICE:
            for owner in self._slices.delete_missing(listed, as_of):
                self._refresh(owner)

    def ports(self) -> set[int]:
        """Return the ports to listen on."""
        return {one.port for one in self._endpoints.values()}

    def by_port(self, port: int) -> Endpoint | None:
        """Return the endpoint of a port."""
        return next((one for one in self._endpoints.values() if one.port == port), None)

    def count_namespaces(self) -> int:
        """Return the number of namespaces with endpoints."""
        return len({key.namespace for key in self._endpoints})

    def document(self) -> ActivatorDocument:
        """Return queued requests and ready replicas per endpoint, for the operator."""
        reports = (
            EndpointReport(
                namespace=one.key.namespace,
                name=one.key.name,
                held=one.held,
                targets=len(one.targets),
            )
            for one in self._endpoints.values()
        )
        return ActivatorDocument(endpoints=tuple(one for one in reports if one.held or one.targets))

    def _refresh(self, owner: Key | None) -> None:
        if owner is None:
            return
        slices = list(self._slices.owned(owner))
        targets = tuple(target for one in slices for target in one.targets)
        own = next((one for one in slices if one.terms is not None), None)
        endpoint = self._endpoints.get(owner)
        if own is not None and own.terms is not None and own.port:
            if endpoint is None or endpoint.port != own.port:
                endpoint = self._endpoints[owner] = Endpoint(owner, own.terms, own.port)
            endpoint.update(own.terms, targets, in_path=bool(own.addresses))
        elif endpoint is not None:
            # It no longer scales to zero. Requests that are still queued need a replica anyway.
            del self._endpoints[owner]
            endpoint.update(endpoint.terms, targets, in_path=False)
        self._changed()
