"""Watches kinds from their last list on, with one stream for each kind and namespace.

Objects go to the sink as they are decoded, in the order of their events. Kopf would start a task
for each object and copy each event into the arguments of a handler, which takes a good part of the
CPU time of a fleet's start (docs/performance.md) and serves nothing here.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from tenacity import RetryCallState, retry, retry_if_exception_type

from mistral_operator.isolation import Isolation
from mistral_operator.kube.client import Cluster, back_off
from mistral_operator.kube.documents import WatchEvent
from mistral_operator.kube.errors import ClusterError, Unavailable, WatchFailed
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import key_of
from mistral_operator.watch.resync import Resync, Sink, kind_scopes

log = logging.getLogger(__name__)

_SHORTEST_SECONDS = 1.0
"""Shortest time between two streams of a kind: an API server that ends each at once is not asked
without pause."""
_REFUSED_SECONDS = 30.0
"""Time until a watch that is forbidden is tried again, after a list: the sweep works meanwhile."""
_EXPIRED = 410
_VERSION_LOST = {_EXPIRED, 400, 403, 404}
"""Statuses of refused watches after which changes may have been forgotten: the kind is listed
first. A watch that was refused for the moment loses nothing."""


def _pause(state: RetryCallState) -> float:
    """Return the delay of the next attempt."""
    error = state.outcome and state.outcome.exception()
    return back_off(state) if isinstance(error, Unavailable) else _REFUSED_SECONDS


class Stream:
    """The watch of one kind in one namespace.

    Args:
        cluster: the API server.
        sink: receives the objects.
        resync: lists the kind when changes were lost.
        kind: kind to watch.
        namespace: namespace to watch; all if None.
        selector: label selector.
    """

    def __init__(
        self,
        cluster: Cluster,
        sink: Sink,
        resync: Resync,
        kind: Kind,
        namespace: str | None,
        selector: str | None,
    ) -> None:
        self._cluster = cluster
        self._sink = sink
        self._resync = resync
        self._kind = kind
        self._namespace = namespace
        self._selector = selector
        self._isolation = Isolation("watches")
        self._version = resync.versions.get((kind, namespace))
        """Resource version up to which everything is known; None if changes were lost."""
        self._logged = ""

    async def forever(self) -> None:
        """Watch, one stream after the other."""
        while True:
            started = time.monotonic()
            await self._once()
            await asyncio.sleep(max(0.0, started + _SHORTEST_SECONDS - time.monotonic()))

    @retry(retry=retry_if_exception_type(ClusterError), wait=_pause)
    async def _once(self) -> None:
        """Watch until a stream ends; retry while none begins."""
        try:
            if self._version is None:
                self._version = await self._resync.list_scope(
                    self._kind, self._namespace, self._selector
                )
            await self._cluster.watch(
                self._kind, self._namespace, self._selector, self._version, self._on_event
            )
        except ClusterError as error:
            if isinstance(error, WatchFailed) or error.status in _VERSION_LOST:
                self._version = None
            self._log_failure(error)
            raise
        self._logged = ""

    def _log_failure(self, error: ClusterError) -> None:
        """Log a failure, unless it is the same as the last or only says that a version expired."""
        failure = f"{error.status} {error.reason}"
        expired = error.status == _EXPIRED
        level = logging.DEBUG if expired or failure == self._logged else logging.WARNING
        log.log(level, "a watch failed and is started anew: %s", error)
        if not expired:
            self._logged = failure

    def _on_event(self, event: WatchEvent, version: int) -> None:
        self._version = version
        if event.type == "BOOKMARK":
            return
        with self._isolation.of((self._kind.kind, *key_of(event.object))):
            self._sink.on_event(self._kind, event.object, deleted=event.type == "DELETED")


async def run_streams(
    cluster: Cluster,
    sink: Sink,
    resync: Resync,
    selectors: Mapping[Kind, str | None],
    namespaces: tuple[str, ...],
) -> None:
    """Watch kinds forever.

    Args:
        cluster: the API server.
        sink: receives the objects.
        resync: has listed the kinds, and lists one again when changes were lost.
        selectors: kinds to watch, with their label selectors.
        namespaces: namespaces to watch; all if empty.
    """
    async with asyncio.TaskGroup() as group:
        for kind, namespace in kind_scopes(selectors, namespaces):
            stream = Stream(cluster, sink, resync, kind, namespace, selectors[kind])
            group.create_task(stream.forever())
