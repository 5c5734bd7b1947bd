"""Updates the store from watches and lists, and queues the keys of changed objects."""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from mistral_operator.isolation import Isolation
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster, retry_while_unavailable
from mistral_operator.kube.errors import ClusterError, StorageRestored
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body, Key, key_of
from mistral_operator.kube.transport import Object
from mistral_operator.metrics import RESYNC_SECONDS
from mistral_operator.watch.store import Store
from mistral_operator.watch.workqueue import WorkQueue

log = logging.getLogger(__name__)

Scope = tuple[Kind, str | None]
"""A kind and a namespace; None stands for all namespaces."""
_FORBIDDEN = 403


class Sink(Protocol):
    """Receives the results of watches and lists."""

    def on_event(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        """Handle an event of a watch, or an object of a list."""

    def replace(
        self, kind: Kind, listed: set[Key], as_of: int, namespace: str | None = None
    ) -> object:
        """Handle the end of a full list: objects missing from it were deleted.

        Args:
            kind: kind of the list.
            listed: keys of the list.
            as_of: resource version of the list.
            namespace: namespace of the list; all if None.
        """


class Watcher:
    """Updates the store and queues the resources whose objects changed.

    Args:
        store: is updated.
        queue: gets the keys of resources.
        urgent: whether an endpoint that loses its last ready pod is reconciled immediately.
    """

    def __init__(self, store: Store, queue: WorkQueue[Key], *, urgent: bool = False) -> None:
        self._store = store
        self._queue = queue
        self._urgent = urgent

    def on_event(self, kind: Kind, body: Body, *, deleted: bool) -> None:
        """Handle an event of a watch, or an object of a list."""
        index = self._store.index(kind)
        before = self._store.pods.get(key_of(body)) if kind == kinds.POD and self._urgent else None
        owner = index.remove(body) if deleted else index.put(body)
        if owner is not None and before is not None and before.serves and not self._serves(owner):
            self._queue.add(owner)  # its requests are refused until the activator queues them
        else:
            self.enqueue(kind, owner)

    def _serves(self, owner: Key) -> bool:
        return any(pod.serves for pod in self._store.replicas(owner))

    def replace(
        self, kind: Kind, listed: set[Key], as_of: int, namespace: str | None = None
    ) -> int:
        """Delete objects missing from a full list; return the number of affected resources."""
        owners = self._store.index(kind).delete_missing(listed, as_of, namespace)
        for owner in owners:
            self.enqueue(kind, owner)
        return len(owners)

    def enqueue(self, kind: Kind, owner: Key | None) -> None:
        """Queue the resources that depend on a changed object."""
        if owner is None:
            return
        if kind == kinds.NODE:
            # Every resource may be affected: a node was added or deleted, or its GPUs changed.
            for key in self._store.resources:
                self._queue.add_soon(key)
        elif kind == kinds.RESOURCE:
            self._queue.add(owner)  # edits are reconciled immediately
        else:
            self._queue.add_soon(owner)


class Resync:
    """Lists every kind in full, at the start and periodically.

    The sweep finds missed events sooner; the resync is the fallback.

    Args:
        cluster: lists the objects.
        sink: receives them.
        selectors: kinds to list, in this order, with their label selectors.
        namespaces: namespaces to list; all if empty.
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
        self._isolation = Isolation("lists")
        self.forbidden = Forbidden(kind_scopes(selectors, namespaces))
        self.versions: dict[Scope, int] = {}
        """Resource version of the last list of each kind and namespace."""

    @retry_while_unavailable
    async def once(self) -> None:
        """List every kind once; retry while the API server is unavailable.

        Raises:
            ClusterError: a list is rejected; with several namespaces, those of all of them are.
            StorageRestored: resource versions went back.
        """
        for kind, selector in self._selectors.items():
            await self.list_kind(kind, selector)
        RESYNC_SECONDS.set(time.time())

    async def forever(self, period: float) -> None:
        """List every kind every `period` seconds."""
        while True:
            await asyncio.sleep(period)
            await self.once()

    async def list_kind(self, kind: Kind, selector: str | None) -> None:
        """List one kind in full, in each namespace whose lists are not forbidden."""
        for namespace in scopes_of(kind, self._namespaces):
            with self.forbidden.tolerated(kind, namespace):
                await self.list_scope(kind, namespace, selector)

    async def list_scope(self, kind: Kind, namespace: str | None, selector: str | None) -> int:
        """List one kind in one namespace; return the resource version from which to watch it."""
        before = self.versions.get((kind, namespace), 0)
        listed: set[Key] = set()
        versions: list[int] = []
        # Page by page, so that the objects of a fleet are never all in memory.
        async for page, version in self._cluster.list_pages(kind, namespace, selector):
            self._handle_page(kind, page, listed)
            versions.append(version)
        version = min(versions)
        if version < before:
            # Every stored version is of a past that did not happen, and newer than what is listed.
            raise StorageRestored(
                f"the list of {kind.plural} has version {version} after {before}: the storage of"
                " the API server was restored from a backup; starting anew"
            )
        self._sink.replace(kind, listed, as_of=version, namespace=namespace)
        self.versions[kind, namespace] = max(version, self.versions.get((kind, namespace), 0))
        return version

    def _handle_page(self, kind: Kind, page: list[Object], listed: set[Key]) -> None:
        for body in page:
            key = key_of(body)
            listed.add(key)
            with self._isolation.of((kind.kind, *key)):
                self._sink.on_event(kind, body, deleted=False)


class Forbidden:
    """Namespaces in which a kind may not be listed, because rights or the namespace are gone.

    The others are served. If a kind may be listed nowhere, the process cannot work.

    Args:
        scopes: kinds and namespaces that are listed.
    """

    def __init__(self, scopes: Iterable[Scope]) -> None:
        self._left = {*scopes}

    def namespaces(self, kind: Kind) -> tuple[str, ...]:
        """Return the namespaces in which a kind may be listed; none if all are listed at once."""
        return tuple(sorted(name for one, name in self._left if one == kind and name is not None))

    @contextmanager
    def tolerated(self, kind: Kind, namespace: str | None) -> Iterator[None]:
        """List a kind in a namespace; log it once if that is forbidden.

        Raises:
            ClusterError: it is forbidden everywhere, or failed otherwise.
        """
        scope = kind, namespace
        try:
            yield
        except ClusterError as error:
            last = not any(one[0] == kind for one in self._left - {scope})
            if error.status != _FORBIDDEN or last:
                raise
            if scope in self._left:
                log.warning("namespace %s is left out: %s", namespace, error)
            self._left.discard(scope)
        else:
            self._left.add(scope)


def kind_scopes(kinds_: Iterable[Kind], namespaces: tuple[str, ...]) -> Iterator[Scope]:
    """Yield each kind with each namespace in which it is listed."""
    for kind in kinds_:
        for namespace in scopes_of(kind, namespaces):
            yield kind, namespace


def scopes_of(kind: Kind, namespaces: tuple[str, ...]) -> Sequence[str | None]:
    """Return the namespaces of the requests for a kind; None stands for all."""
    return namespaces if namespaces and kind.namespaced else (None,)


@retry_while_unavailable
async def installed_kinds(cluster: Cluster) -> tuple[Kind, ...]:
    """Return the optional kinds whose CRDs are installed."""
    return tuple([kind for kind in kinds.OPTIONAL_KINDS if await cluster.serves(kind)])


async def wait_for_kind_change(
    cluster: Cluster, installed: tuple[Kind, ...], period: float, suspected: asyncio.Event
) -> None:
    """Return when an optional CRD was installed or removed.

    Args:
        cluster: the API server.
        installed: kinds whose CRDs were installed.
        period: seconds between two checks.
        suspected: is set when a kind could not be listed, for a check at once.
    """
    changed: set[Kind] = set()
    while not changed:
        with suppress(TimeoutError):
            await asyncio.wait_for(suspected.wait(), period)
        suspected.clear()
        changed = {*await installed_kinds(cluster)} ^ {*installed}
    changed_names = " and ".join(sorted(kind.kind for kind in changed))
    log.warning("installed or removed: %s; restarting to use the installed CRDs", changed_names)
