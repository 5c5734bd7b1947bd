"""Finds missed watch events by frequent lists of metadata.

A watch that breaks, expires or goes silent loses events. A lost deletion is permanent, since no
later event follows, and reconciling a deleted resource would create its children again and again. A
list of metadata costs a fraction of a full list and is served from the memory of the API server.
"""

import asyncio
import logging
from collections.abc import Mapping

from mistral_operator.isolation import Isolation
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster, retry_while_unavailable
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key, key_of
from mistral_operator.watch.resync import Resync, Watcher
from mistral_operator.watch.store import Index, Store, version_of

log = logging.getLogger(__name__)

SWEEP_SECONDS = 12.0
"""Interval between two sweeps. The next one finds a lost deletion, the one after it any other
lost event: both within 30 seconds. `pytest tests/bench/test_fleet.py -k sweep`
measures the cost of a sweep."""
FIRST_SWEEP_SECONDS = 3.0
"""Delay of the first sweep. It finds changes that precede the first watches."""

_NOT_SWEPT = {kinds.NODE}
"""Nodes change frequently in fields that the operator does not use."""


class Sweep:
    """Compares the store with lists of metadata.

    Args:
        cluster: lists the metadata.
        store: is compared with it.
        watcher: handles missed deletions.
        resync: lists a kind in full when its watch missed other events.
        selectors: kinds to compare, with their label selectors.
        namespaces: namespaces to list; all if empty.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        watcher: Watcher,
        resync: Resync,
        selectors: Mapping[Kind, str | None],
        namespaces: tuple[str, ...],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._watcher = watcher
        self._resync = resync
        self._selectors = {
            kind: selector for kind, selector in selectors.items() if kind not in _NOT_SWEPT
        }
        self._scopes: tuple[str | None, ...] = namespaces or (None,)
        self._isolation = Isolation("sweep")
        self._behind: dict[tuple[Kind, Key], int] = {}

    async def forever(self) -> None:
        """Compare every kind periodically."""
        await asyncio.sleep(FIRST_SWEEP_SECONDS)
        while True:
            await self.once()
            await asyncio.sleep(SWEEP_SECONDS)

    @retry_while_unavailable
    async def once(self) -> None:
        """Compare every kind once."""
        for kind, selector in self._selectors.items():
            await self._sweep_kind(kind, selector)

    async def _sweep_kind(self, kind: Kind, selector: str | None) -> None:
        index, listed, versions = self._store.index(kind), set[Key](), list[int]()
        newer: dict[Key, int] = {}
        for scope in self._scopes:
            pages = self._cluster.list_pages(kind, scope, selector, metadata_only=True)
            async for page, version in pages:
                versions.append(version)
                for body in page:
                    key = key_of(body)
                    listed.add(key)
                    with self._isolation.of((kind.kind, *key)):
                        if index.is_behind(body):
                            newer[key] = version_of(body)
        lost = self._watcher.replace(kind, listed, as_of=min(versions))
        if lost:
            log.warning("the watch of %s missed %d deletions", kind.plural, lost)
        await self._catch_up(kind, selector, index, newer)

    async def _catch_up(
        self, kind: Kind, selector: str | None, index: Index[object], newer: dict[Key, int]
    ) -> None:
        """List a kind in full if its watch has not reported a change found by the last sweep."""
        missed = [key for key in newer if index.version(key) < self._behind.get((kind, key), -1)]
        self._behind = {at: version for at, version in self._behind.items() if at[0] != kind}
        self._behind.update({(kind, key): version for key, version in newer.items()})
        if missed:
            log.warning("the watch of %s is behind by %d objects", kind.plural, len(missed))
            await self._resync.list_kind(kind, selector)
