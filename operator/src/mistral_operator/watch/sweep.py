"""Finds what the watches missed, by frequent lists of metadata alone.

A watch that is cut, silent or expired loses events: a deletion for good, since no later event tells
of it. Acting on a resource that is gone would create its children again and again. A list of
metadata costs a fraction of a full one, and comes from the API server's memory.
"""

import asyncio
import logging
from collections.abc import Mapping

from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster, patiently
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key, key_of
from mistral_operator.watch.resync import Resync, Watcher
from mistral_operator.watch.store import Shelf, Store, version_of

log = logging.getLogger(__name__)

SWEEP_SECONDS = 12.0
"""Interval between two sweeps. A lost deletion is found by the next one, another lost event by the
one after that: both within 30 seconds. `pytest tests/bench/test_fleet.py -k sweep`
measures what a sweep costs."""
FIRST_SWEEP_SECONDS = 3.0
"""The first sweep follows soon on Kopf's own first lists, before which nothing was watched."""

_NOT_SWEPT = {kinds.NODE}
"""Nodes change all the time without any news for us."""


class Sweep:
    """Compares the store with lists of metadata.

    Args:
        cluster: where the lists come from.
        store: what is known.
        watcher: takes note of what is gone.
        resync: lists a kind in full when its watch has missed more than deletions.
        selectors: the kinds to compare, each with its label selector.
        namespaces: where; everywhere if there are none.
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
        self._behind: dict[tuple[Kind, Key], int] = {}

    async def forever(self) -> None:
        """Compare again and again."""
        await asyncio.sleep(FIRST_SWEEP_SECONDS)
        while True:
            await self.once()
            await asyncio.sleep(SWEEP_SECONDS)

    @patiently
    async def once(self) -> None:
        """Compare every kind once."""
        for kind, selector in self._selectors.items():
            await self._one(kind, selector)

    async def _one(self, kind: Kind, selector: str | None) -> None:
        shelf, seen, versions = self._store.shelf(kind), set[Key](), list[int]()
        newer: dict[Key, int] = {}
        for scope in self._scopes:
            pages = self._cluster.list_pages(kind, scope, selector, metadata_only=True)
            async for page, version in pages:
                versions.append(version)
                for body in page:
                    seen.add(key_of(body))
                    if shelf.is_behind(body):
                        newer[key_of(body)] = version_of(body)
        lost = self._watcher.swept(kind, seen, as_of=min(versions))
        if lost:
            log.warning("the watch of %s missed %d deletions", kind.plural, lost)
        await self._catch_up(kind, selector, shelf, newer)

    async def _catch_up(
        self, kind: Kind, selector: str | None, shelf: Shelf[object], newer: dict[Key, int]
    ) -> None:
        """List a kind in full if the watch has not told of a change since the sweep before."""
        missed = [key for key in newer if shelf.version(key) < self._behind.get((kind, key), -1)]
        self._behind = {at: one for at, one in self._behind.items() if at[0] != kind}
        self._behind.update({(kind, key): version for key, version in newer.items()})
        if missed:
            log.warning("the watch of %s is behind by %d objects", kind.plural, len(missed))
            await self._resync.one(kind, selector)
