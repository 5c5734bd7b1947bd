"""The endpoints of the activator: their ports, ready replicas and queued requests."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from mistral_operator.activator import metrics
from mistral_operator.activator.accepted_keys import AcceptedKeys
from mistral_operator.activator.disbelief import Disbelief
from mistral_operator.activator.quiet_log import QuietLog
from mistral_operator.activator.slices import IsTarget, SliceFacts, may_be_replica, slice_facts
from mistral_operator.kube import kinds
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body, Key, key_of, labeled_owner
from mistral_operator.scale_to_zero import (
    PORTS,
    ActivatorDocument,
    EndpointReport,
    PortMapEntry,
    StoredKeys,
    Terms,
)
from mistral_operator.watch.index import Index

log = logging.getLogger(__name__)

DEFAULT_START_SECONDS = 60.0
"""Estimated duration of a start until one was measured."""
BELIEF_SECONDS = 3600.0
"""How long after its last replica the digests of an endpoint are believed without exception. The
Secret may have changed since; then no known key is right."""
_PROBE_SECONDS = 60.0
"""Shortest time until another key may start a replica if the one before started none."""
_REPORT_SECONDS = 3600.0
"""Time between two reports of ignored slices of one namespace."""


class LimitExceeded(Exception):
    """The queue of an endpoint is full."""


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
    targets: tuple[str, ...] = ()
    """Hosts and ports of ready replicas."""
    held: int = 0
    """Number of queued requests."""
    clock: Callable[[], float] = time.monotonic
    keys: StoredKeys | None = None
    """Digests of its API keys, None if they are not known."""
    accepted_keys: AcceptedKeys = field(default_factory=AcceptedKeys)
    """API keys that its replicas accepted."""
    log: QuietLog = field(default_factory=lambda: QuietLog(log))
    """Warnings about its requests."""
    _listed: tuple[str, ...] = ()
    """Targets in the slices."""
    _disbelief: Disbelief = field(init=False)
    _next_target: int = 0
    _held_unknown: int = 0
    """Number of queued requests with an unknown key."""
    _waiting_since: float = 0.0
    """When the first of the queued requests arrived."""
    _believed_until: float = field(init=False)
    _probe_until: float = -math.inf
    """Until then, a key that the digests do not contain counts as queued."""
    _start_seconds: float = DEFAULT_START_SECONDS
    _updated: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Believe digests from now on: a restart must not let another key start a replica."""
        self._believed_until = self.clock() + BELIEF_SECONDS
        self._disbelief = Disbelief(lambda: self.clock())

    def update(self, targets: tuple[str, ...]) -> None:
        """Set the hosts and ports of ready replicas in the slices."""
        self._listed = targets
        targets = self._disbelief.believed(targets)
        if targets or self.targets:
            self._believed_until = self.clock() + BELIEF_SECONDS
        if targets and not self.targets and self.queued:
            self._start_seconds = self.clock() - self._waiting_since
        if targets:
            self._probe_until = -math.inf
        self.targets = targets
        self._updated.set()
        self._updated = asyncio.Event()

    def disbelieve(self, target: str) -> None:
        """Forward nothing to a target for some time: it belongs to another endpoint."""
        self._disbelief.add(target)
        self.update(self._listed)

    def is_strange(self, key: str) -> bool:
        """Return whether a key is unknown although a replica has accepted another one."""
        return bool(self.accepted_keys) and key not in self.accepted_keys

    def may_probe(self) -> bool:
        """Return whether a key that the digests do not contain may start a replica now.

        If so, it counts as queued until a replica is ready, at most as long as its request could
        be, and the next one has to wait. If a client that disconnects took its request back, anyone
        could use up every attempt, and no client would ever learn of new keys.
        """
        now = self.clock()
        if now < self._believed_until:
            return False
        if not self.queued:
            self._waiting_since = now
        self._probe_until = now + max(_PROBE_SECONDS, self.terms.max_wait_seconds)
        self._believed_until = self._probe_until
        return True

    @property
    def probing(self) -> bool:
        """Whether a key that the digests do not contain waits for a replica."""
        return self.keys is not None and (self._held_unknown > 0 or self._is_probe_counted)

    @property
    def queued(self) -> int:
        """Number of requests that a replica is to be started for."""
        return self.held or int(self._is_probe_counted)

    @property
    def _is_probe_counted(self) -> bool:
        return self.clock() < self._probe_until

    @contextmanager
    def slot(self, *, unknown: bool = False) -> Iterator[None]:
        """Occupy one slot of the queue.

        Half of the slots are not for unknown keys: anyone can make up keys.

        Args:
            unknown: whether the API key of the request is unknown.

        Raises:
            LimitExceeded: the queue is full.
        """
        if self.held >= self.terms.max_requests:
            raise LimitExceeded
        if unknown and self._held_unknown >= (self.terms.max_requests + 1) // 2:
            raise LimitExceeded
        if not self.queued:
            self._waiting_since = self.clock()
        self.held += 1
        self._held_unknown += unknown
        try:
            yield
        finally:
            self.held -= 1
            self._held_unknown -= unknown

    async def ready_target(self) -> str:
        """Wait for a ready replica and return its host and port, round robin."""
        while not self.targets:
            await self._updated.wait()
        self._next_target += 1
        return self.targets[self._next_target % len(self.targets)]

    def retry_after(self) -> int:
        """Return the seconds until a replica should be ready, as long as the last start took.

        A start can take a day without a free GPU. A client need not stay away for as long: it is
        queued when it returns.
        """
        waited = self.clock() - self._waiting_since if self.queued else 0.0
        longest = max(DEFAULT_START_SECONDS, self.terms.max_wait_seconds)
        return max(5, math.ceil(min(longest, self._start_seconds - waited)))


class Endpoints:
    """All endpoints that can scale to zero: their ports from the port map, replicas from slices.

    Args:
        changed: called when the set of ports may have changed.
        is_target: tells whether a replica may have an address and a port.
    """

    def __init__(
        self,
        changed: Callable[[], None] = lambda: None,
        is_target: IsTarget = may_be_replica,
    ) -> None:
        self._changed = changed
        self._slices: Index[SliceFacts] = Index(
            lambda body: slice_facts(body, is_target), labeled_owner
        )
        self._endpoints: dict[Key, Endpoint] = {}
        self._closed: dict[Key, Endpoint] = {}
        """Endpoints without a port whose requests are still queued."""
        self._ports: dict[int, Endpoint] = {}
        self._keys: Mapping[Key, StoredKeys] = {}
        self._log = QuietLog(log, _REPORT_SECONDS)

    def set_ports(self, entries: Mapping[int, PortMapEntry]) -> None:
        """Take over the port map."""
        before = self._endpoints
        previous = self._closed | before
        self._endpoints = {}
        for port, entry in entries.items():
            key = Key(entry.namespace, entry.name)
            current = previous.get(key) or Endpoint(key, entry.terms, port)
            self._endpoints[key] = current
            current.port = port
            current.terms, current.keys = entry.terms, self._keys.get(key)
        metrics.follow(before, self._endpoints)
        self._ports = {one.port: one for one in self._endpoints.values()}
        gone = previous.keys() - self._endpoints.keys()
        # Requests that are still queued at a closed port need a replica anyway.
        self._closed = {key: previous[key] for key in gone if previous[key].held}
        for key in (*self._endpoints, *self._closed):
            self._refresh(key)
        self._changed()

    def set_keys(self, keys: Mapping[Key, StoredKeys]) -> None:
        """Take over the key map."""
        self._keys = keys
        for key, endpoint in self._endpoints.items():
            endpoint.keys = keys.get(key)

    def on_event(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        """Process a watch event, or an object of a list."""
        if kind != kinds.ENDPOINT_SLICE:
            return
        owner = self._slices.remove(body) if deleted else self._slices.put(body)
        if owner is not None:
            self._report(body)
            self._refresh(owner)

    def replace(
        self, kind: Kind, listed: set[Key], as_of: int, namespace: str | None = None
    ) -> None:
        """Remove the slices that a full list does not contain."""
        if kind == kinds.ENDPOINT_SLICE:
            for owner in self._slices.delete_missing(listed, as_of, namespace):
                self._refresh(owner)

    def ports(self) -> set[int]:
        """Return the ports to listen on."""
        return {*self._ports}

    def by_port(self, port: int) -> Endpoint | None:
        """Return the endpoint of a port."""
        return self._ports.get(port)

    def count_namespaces(self) -> int:
        """Return the number of namespaces with endpoints."""
        return len({key.namespace for key in self._endpoints})

    def count_ignored(self) -> Counter[str]:
        """Return the number of slices with ignored addresses, by reason."""
        return Counter(one.ignored for one in self._slices.values() if one.ignored)

    def document(self) -> ActivatorDocument:
        """Return queued requests and ready replicas per endpoint, for the operator."""
        reports = (
            EndpointReport(
                namespace=one.key.namespace,
                name=one.key.name,
                held=one.queued,
                targets=len(one.targets),
            )
            for one in (*self._endpoints.values(), *self._closed.values())
        )
        reported = (one for one in reports if one.held or one.targets)
        return ActivatorDocument(endpoints=tuple(islice(reported, PORTS)))

    def _refresh(self, key: Key) -> None:
        endpoint = self._endpoints.get(key) or self._closed.get(key)
        if endpoint is not None:
            endpoint.update(self._targets(key))

    def _targets(self, key: Key) -> tuple[str, ...]:
        return tuple(target for one in self._slices.owned(key) for target in one.targets)

    def _report(self, body: Body) -> None:
        """Log a slice whose addresses are ignored: the operator and Kubernetes create none."""
        key = key_of(body)
        facts = self._slices.get(key)
        if facts is not None and facts.ignored:
            self._log.warning(
                (key.namespace, facts.ignored),
                f"EndpointSlice {key.namespace}/{key.name} is ignored, since no pod of an endpoint"
                f" has such an {facts.ignored.replace('_', ' ')}: find out who created it",
            )
