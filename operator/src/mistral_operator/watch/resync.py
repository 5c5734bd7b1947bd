"""From what the watches and lists say to keys in the queue."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster, Object, patiently
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body, Key, key_of
from mistral_operator.metrics import RESYNC_SECONDS
from mistral_operator.watch.store import Store
from mistral_operator.watch.workqueue import WorkQueue

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes what watches and lists say."""

    def saw(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        """Take one event of a watch, or one object of a list."""

    def swept(self, kind: Kind, seen: set[Key], as_of: int) -> object:
        """Take the end of a full list: whatever it did not hold is gone."""


class Watcher:
    """Keeps the store up to date and says which resources to look at."""

    def __init__(self, store: Store, queue: WorkQueue[Key]) -> None:
        self._store = store
        self._queue = queue

    def saw(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        """Take one event of a watch."""
        shelf = self._store.shelf(kind)
        self.changed(kind, shelf.remove(body) if deleted else shelf.put(body))

    def swept(self, kind: Kind, seen: set[Key], as_of: int) -> int:
        """Forget what a full list did not hold; return how many resources that concerns."""
        owners = self._store.shelf(kind).drop_unseen(seen, as_of)
        for owner in owners:
            self.changed(kind, owner)
        return len(owners)

    def changed(self, kind: Kind, owner: Key | None) -> None:
        """Queue what depends on a changed object."""
        if owner is None:
            return
        if kind == kinds.NODE:
            # Any resource may fit, or no longer fit, a node that came, went or changed its GPUs.
            for body in self._store.resources.values():
                self._queue.add_soon(key_of(body))
        elif kind == kinds.RESOURCE:
            self._queue.add(owner)  # a user's edit is acted on at once
        else:
            self._queue.add_soon(owner)


class Resync:
    """Compares what is known with full lists: at the start, and from time to time.

    What watches miss is found sooner by the sweep; this is what remains if that were wrong.

    Args:
        cluster: where the lists come from.
        sink: is told what they hold.
        selectors: the kinds to list, in this order, each with its label selector.
        namespaces: where to look; everywhere if there are none.
    """

    def __init__(
        self,
        cluster: Cluster,
        sink: Sink,
        selectors: Mapping[Kind, str | None],
        namespaces: tuple[str, ...],
    ) -> None:
        self._cluster = cluster
        self._sink = sink
        self._selectors = selectors
        self._namespaces = namespaces

    @patiently
    async def once(self) -> None:
        """List every kind once, as soon as the API server lets itself be asked."""
        for kind, selector in self._selectors.items():
            await self.one(kind, selector)
        RESYNC_SECONDS.set(time.time())

    async def forever(self, period: float) -> None:
        """List every kind, again and again, `period` seconds apart."""
        while True:
            await asyncio.sleep(period)
            await self.once()

    async def one(self, kind: Kind, selector: str | None) -> None:
        """List one kind in full."""
        scopes: Iterable[str | None] = self._namespaces or (None,)
        if not kind.namespaced:
            scopes = (None,)
        seen: set[Key] = set()
        versions: list[int] = []
        for namespace in scopes:
            # Page by page: a fleet's objects need not be in memory all at once.
            async for page, version in self._cluster.list_pages(kind, namespace, selector):
                self._take(kind, page, seen)
                versions.append(version)
        self._sink.swept(kind, seen, as_of=min(versions))

    def _take(self, kind: Kind, page: list[Object], seen: set[Key]) -> None:
        for body in page:
            seen.add(key_of(body))
            self._sink.saw(kind, body, deleted=False)


@patiently
async def installed_kinds(cluster: Cluster) -> tuple[Kind, ...]:
    """Return the optional kinds that the cluster has."""
    return tuple([kind for kind in kinds.OPTIONAL_KINDS if await cluster.knows(kind)])


async def until_other_kinds(cluster: Cluster, known: tuple[Kind, ...], period: float) -> None:
    """Return when an optional kind was installed, or removed; looks every `period` seconds."""
    changed: set[Kind] = set()
    while not changed:
        await asyncio.sleep(period)
        changed = {*await installed_kinds(cluster)} ^ {*known}
    told = " and ".join(sorted(kind.kind for kind in changed))
    log.warning("installed or removed: %s; restarting to use the installed CRDs", told)
