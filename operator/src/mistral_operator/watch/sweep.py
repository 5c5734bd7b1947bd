"""Finds missed watch events by frequent lists of metadata.

A watch that breaks, expires or goes silent loses events. A lost deletion is permanent, since no
later event follows, and reconciling a deleted resource would create its children again and again. A
list of metadata costs a fraction of a full list and is served from the memory of the API server.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from mistral_operator.isolation import Isolation
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import KindMissing, Unavailable
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key, key_of
from mistral_operator.watch.index import version_of
from mistral_operator.watch.resync import Resync, Watcher, kind_scopes
from mistral_operator.watch.store import Store

log = logging.getLogger(__name__)

SHORTEST_PERIOD = 3.0
LONGEST_PERIOD = 12.0
_OBJECTS_PER_SECOND = 583.0
"""Objects to compare per second, in the mean: 8 % of a core, since a sweep of 7,000 objects takes 1
CPU-second (`pytest tests/bench/test_fleet.py -k sweep`)."""
_OBJECTS_PER_REQUEST = 25
"""Objects that cost as much as the request of a list."""
_GRACE = 1 / 6
"""How long a watch may be late, as a share of the period. In a fleet that starts, watches lag. The
event of a deletion is worth waiting for: it has the last state of a pod, with its exits."""
FIRST_SWEEP_SECONDS = 3.0
"""Delay of the first sweep. It finds changes that precede the first watches."""

_NOT_SWEPT = {kinds.NODE}
"""Nodes change frequently in fields that the operator does not use."""


def sweep_period(objects: int, requests: int) -> float:
    """Return the seconds between two sweeps: a small fleet is swept more often.

    Args:
        objects: number of objects to compare.
        requests: number of lists.
    """
    cost = (objects + requests * _OBJECTS_PER_REQUEST) / _OBJECTS_PER_SECOND
    return min(LONGEST_PERIOD, max(SHORTEST_PERIOD, cost))


@dataclass(frozen=True)
class _Listed:
    """The metadata of one kind in one namespace, compared with the store."""

    kind: Kind
    namespace: str | None
    """Namespace of the list; all if None."""
    keys: set[Key]
    as_of: int
    """Resource version of the list."""
    newer: Mapping[Key, int]
    """Objects whose listed version is newer than the stored one, with that version."""


class Sweep:
    """Compares the store with lists of metadata.

    Args:
        cluster: lists the metadata.
        store: is compared with it.
        watcher: handles missed deletions.
        resync: lists a kind in full when its watch missed other events.
        selectors: kinds to compare, with their label selectors.
        namespaces: namespaces to list; all if empty.
        on_missing: called when the API server does not serve a kind.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        watcher: Watcher,
        resync: Resync,
        selectors: Mapping[Kind, str | None],
        namespaces: tuple[str, ...],
        on_missing: Callable[[], None] = lambda: None,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._watcher = watcher
        self._resync = resync
        self._selectors = {
            kind: selector for kind, selector in selectors.items() if kind not in _NOT_SWEPT
        }
        self._scopes = [*kind_scopes(self._selectors, namespaces)]
        self._on_missing = on_missing
        self._isolation = Isolation("sweep")
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    @property
    def period(self) -> float:
        """Seconds between two sweeps."""
        objects = sum(len(self._store.index(kind)) for kind in self._selectors)
        return sweep_period(objects, len(self._scopes))

    async def forever(self) -> None:
        """Compare every kind periodically."""
        await self.sleep(FIRST_SWEEP_SECONDS)
        while True:
            waited = await self.once()
            await self.sleep(self.period - waited)

    async def once(self) -> float:
        """Compare every kind once; return the seconds of grace that late watches were given.

        What cannot be listed now is left to the next sweep: one kind or namespace that the API
        server does not serve hides none of the others.

        Raises:
            ClusterError: a list is rejected; with several namespaces, those of all of them are.
        """
        lists = [one for scope in self._scopes if (one := await self._list(*scope)) is not None]
        grace = self.period * _GRACE if any(map(self._differs, lists)) else 0.0
        if grace:
            await self.sleep(grace)
        for one in lists:
            await self._catch_up(one)
        return grace

    async def _list(self, kind: Kind, namespace: str | None) -> _Listed | None:
        """Return a list of metadata, None if there is none now."""
        try:
            with self._resync.forbidden.tolerated(kind, namespace):
                return await self._compared(kind, namespace)
        except KindMissing:
            self._on_missing()
        except Unavailable as error:
            log.debug("not compared: %s", error)
        return None

    async def _compared(self, kind: Kind, namespace: str | None) -> _Listed:
        index, listed, versions = self._store.index(kind), set[Key](), list[int]()
        newer: dict[Key, int] = {}
        pages = self._cluster.list_pages(kind, namespace, self._selectors[kind], metadata_only=True)
        async for page, version in pages:
            versions.append(version)
            for body in page:
                key = key_of(body)
                listed.add(key)
                with self._isolation.of((kind.kind, *key)):
                    if index.is_behind(body):
                        newer[key] = version_of(body)
        return _Listed(kind, namespace, listed, min(versions), newer)

    def _differs(self, one: _Listed) -> bool:
        missing = self._store.index(one.kind).missing(one.keys, one.as_of, one.namespace)
        return bool(one.newer or missing)

    async def _catch_up(self, one: _Listed) -> None:
        """Handle the changes of a kind that its watch has still not reported."""
        lost = self._watcher.replace(one.kind, one.keys, one.as_of, one.namespace)
        if lost:
            log.warning("the watch of %s missed %d deletions", one.kind.plural, lost)
        index = self._store.index(one.kind)
        missed = [key for key, version in one.newer.items() if index.version(key) < version]
        if not missed:
            return
        log.warning("the watch of %s is behind by %d objects", one.kind.plural, len(missed))
        with suppress(Unavailable):
            await self._resync.list_scope(one.kind, one.namespace, self._selectors[one.kind])
