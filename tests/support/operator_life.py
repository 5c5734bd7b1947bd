"""Runs the operator against a fake cluster on virtual time, and kills it at any write.

The parts are the operator's own, put together as `process/operator_process` does. Only Kopf and the
polls of pods and activators are played: the feed of the fake API server is delivered to the
watcher, and what pods and activators report is written to the boards.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from builders import CONTEXT, NAME, NAMESPACE, Object, merged, node_body, signal
from fake_api_server import FakeApiServer, is_selected
from fake_daemon_sets import FakeDaemonSets
from fake_objects import EPOCH, FakeObjects, WatchEvent
from fake_workloads import FakeWorkloads, is_ready
from in_process_client import connected
from mistral_operator.control.activator_port_map import PortMapWriter
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.control.collectors import FleetCollector
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.reconciler import Reconciler
from mistral_operator.control.scaler import Scaler
from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.objects import Key, key_of
from mistral_operator.scale_to_zero import Activators
from mistral_operator.signals.activators import ActivatorBoard, changed_keys
from mistral_operator.signals.pods import SignalBoard
from mistral_operator.watch.resync import Resync, Watcher
from mistral_operator.watch.store import Store
from mistral_operator.watch.workqueue import WorkQueue
from virtual_time import run

KEY = Key(NAMESPACE, NAME)
WATCH_SECONDS = 0.01
"""Until a watch has told the operator of a change."""
POLL_SECONDS = 2.0
RESYNC_SECONDS = 600.0
_WATCHED = (kinds.RESOURCE, kinds.NODE, kinds.POD, *kinds.CHILD_KINDS)
SELECTORS = {kind: kinds.selector_of(kind) for kind in _WATCHED}


class _Errors(logging.Handler):
    """Keeps what the operator logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


@dataclass
class Life:
    """One cluster with an operator that may be killed and is then started again."""

    api: FakeApiServer
    cluster: Cluster
    objects: FakeObjects
    workloads: FakeWorkloads
    daemon_sets: FakeDaemonSets
    load: Mapping[str, int] = field(default_factory=dict)
    """What the ready pods report together."""
    activators: tuple[str, ...] = ()
    """Addresses of ready activators."""
    held: int = 0
    """Requests that wait in an activator."""
    deaf: bool = False
    """The activators do not read the port map any more."""
    stale: tuple[str, ...] = ()
    """Activators that do not."""
    is_lost: Callable[[WatchEvent], bool] = lambda _: False
    """Events that the watch loses."""
    watch_seconds: float = WATCH_SECONDS
    reconciler: type[Reconciler] = Reconciler
    operator: "OneOperator | None" = None
    starts: int = 0

    ready_counts: list[int] = field(default_factory=list)
    """Numbers of ready pods since `watch_ready`."""

    def watch_ready(self) -> None:
        """Note from now on how many pods are ready."""

        def count(event: WatchEvent) -> None:
            if event.kind == kinds.POD:
                self.ready_counts.append(sum(map(is_ready, self.pods())))

        self.objects.listeners.append(count)

    def now(self) -> str:
        """Return the time as it is written into a status."""
        passed = timedelta(seconds=asyncio.get_running_loop().time())
        return (datetime.fromisoformat(EPOCH) + passed).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    async def start(self) -> None:
        """Start an operator that knows nothing."""
        self.starts += 1
        self.operator = OneOperator(self)
        await self.operator.begin()

    def kill(self) -> None:
        """Kill the operator where it is; another one starts a moment later."""
        if self.operator is not None:
            self.operator.kill()
            self.operator = None

    async def settle(self, quiet: float = 40.0, limit: float = 20_000.0) -> None:
        """Wait until nothing was written for some time; a killed operator is started again."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        version, since = -1, loop.time()
        while loop.time() - since < quiet:
            if self.operator is None:
                await self.start()
                since = loop.time()
            await asyncio.sleep(0.1 if self.operator is None else min(quiet / 40, 1.5))
            if self.operator is not None:
                self.operator.check()
            now = self.objects.version + len(self.api.writes)
            if now != version or self.operator is None:
                version, since = now, loop.time()
            assert loop.time() < until, f"never settles: {[*map(str, self.api.writes[-10:])]}"

    # --- What users do ----------------------------------------------------------------------------

    def create(self, spec: Object | None = None) -> None:
        """Create the resource."""
        metadata = {"name": NAME, "namespace": NAMESPACE}
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata}
        self.objects.create(kinds.RESOURCE, {**body, "spec": spec or {}})

    def edit(self, changes: Object) -> None:
        """Edit the spec of the resource; None takes a field away."""
        self.objects.update(
            kinds.RESOURCE,
            KEY,
            lambda live: {**live, "spec": _without_none(merged(live["spec"], changes))},
        )

    def delete(self) -> None:
        """Delete the resource."""
        self.objects.delete(kinds.RESOURCE, KEY)

    def evict(self) -> None:
        """Evict every pod, as a drain of its node does."""
        for pod in self.pods():
            self.objects.mark_deleted(kinds.POD, key_of(pod))

    # --- What there is ----------------------------------------------------------------------------

    @property
    def status(self) -> Object:
        """The status of the resource."""
        body = self.objects.find(kinds.RESOURCE, KEY)
        return {} if body is None else dict(body.get("status", {}))

    def reason(self, kind: str = "Ready") -> str:
        """Return the reason of a condition."""
        return next(
            (one["reason"] for one in self.status.get("conditions", ()) if one["type"] == kind), ""
        )

    def pods(self) -> list[Object]:
        """Return the replicas that stay."""
        return [
            pod
            for pod in self.objects.all(kinds.POD)
            if "deletionTimestamp" not in pod["metadata"]
            and names.owner_of(pod["metadata"]["labels"]) is not None
        ]

    def deployment(self) -> Object:
        """Return the Deployment."""
        body = self.objects.find(kinds.DEPLOYMENT, KEY)
        assert body is not None
        return body

    def event_reasons(self) -> list[str]:
        """Return the reasons of the Events, each as often as it is counted, by first occurrence."""
        events = sorted(self.objects.all(kinds.EVENT), key=lambda one: one["metadata"]["uid"])
        return [one["reason"] for one in events for _ in range(one["count"])]


class OneOperator:
    """One operator from its start to its end."""

    def __init__(self, life: Life) -> None:
        loop = asyncio.get_running_loop()
        self._life = life
        self._store = Store(kinds.CHILD_KINDS)
        self._queue = WorkQueue[Key](jitter=lambda: 0.0)
        self._watcher = Watcher(self._store, self._queue, urgent=bool(life.activators))
        self._board, self._activators = SignalBoard(), ActivatorBoard()
        self._scaler = Scaler(
            *(self._store, self._board, self._activators, self._queue.add, 15.0),
            clock=loop.time,
            wall=life.now,
        )
        self.fleet = FleetCollector()
        self._ports = ActivatorPorts(
            self._store,
            requeue=self._queue.add,
            requeue_after=self._queue.add_after,
            clock=loop.time,
        )
        self._port_map = PortMapWriter(life.cluster, "mistral-system", self._ports)
        self.reconciler = life.reconciler(
            Dependencies(
                life.cluster,
                self._store,
                self._board,
                self._scaler,
                self._activators,
                CONTEXT,
                self.fleet,
                ports=self._ports,
                publish_ports=self._publish_ports,
                has_activators=bool(life.activators),
                requeue=self._queue.add,
                requeue_after=self._queue.add_after,
                now=life.now,
                clock=loop.time,
            )
        )
        self._resync = Resync(life.cluster, self._watcher, SELECTORS, ())
        self._tasks: list[asyncio.Task[None]] = []
        self._handler = _Errors()
        self.errors = self._handler.records

    async def begin(self) -> None:
        """List everything, then watch and work."""
        logging.getLogger("mistral_operator").addHandler(self._handler)
        self._life.objects.listeners.append(self._on_event)
        self._poll_activators()
        await self._resync.once()
        await self._port_map.restore()
        parts = (
            self._queue.work(self.reconciler),
            self._resync.forever(RESYNC_SECONDS),
            self._scaler.run(),
            self._poll(),
            *((self._port_map.run(),) if self._life.activators else ()),
        )
        self._tasks = [asyncio.create_task(part) for part in parts]

    def kill(self) -> None:
        """End at once, wherever it is."""
        logging.getLogger("mistral_operator").removeHandler(self._handler)
        with suppress(ValueError):
            self._life.objects.listeners.remove(self._on_event)
        for task in self._tasks:
            task.cancel()

    def check(self) -> None:
        """Fail if a part has ended, or anything was logged as an error."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()
        assert self.errors == []

    def _on_event(self, event: WatchEvent) -> None:
        if event.kind in SELECTORS and not self._life.is_lost(event):
            loop = asyncio.get_running_loop()
            loop.call_later(self._life.watch_seconds, self._deliver, event)

    def _deliver(self, event: WatchEvent) -> None:
        if self._life.operator is self:
            # A watch with a selector tells of an object that is not selected any more as deleted.
            selected = is_selected(event.body, "", SELECTORS[event.kind] or "")
            deleted = event.action == "DELETED" or not selected
            self._watcher.on_event(event.kind, event.body, deleted=deleted)

    async def _publish_ports(self, key: Key) -> None:
        await self._port_map.publish_for(key)
        newest = self._ports.published.newest
        if self._life.activators and newest > self._activators.current.port_map:
            asyncio.get_running_loop().call_later(WATCH_SECONDS, self._poll_activators)

    async def _poll(self) -> None:
        while True:
            self._poll_pods()
            self._poll_activators()
            await asyncio.sleep(POLL_SECONDS)

    def _poll_pods(self) -> None:
        ready = [pod for pod in self._store.pods.values() if pod.ready and not pod.terminating]
        loop = asyncio.get_running_loop()
        for number, pod in enumerate(ready):
            # The load is shared evenly, as far as it goes.
            shares = {
                name: total // len(ready) + (number < total % len(ready))
                for name, total in self._life.load.items()
            }
            line = self._board.record(pod)
            first = line.document is None
            document: Object = {**shares, "effective": {"kv_cache_tokens": 40_960}}
            line.document = signal(**document)
            line.received_at = loop.time()
            if first:
                self._queue.add(KEY)

    def _poll_activators(self) -> None:
        before, life = self._activators.current, self._life
        if not (life.activators or before.addresses):
            return
        seen = sum(map(is_ready, life.pods()))
        published = self._ports.published
        versions = {
            one: before.versions.get(one, 0) if life.deaf or one in life.stale else published.newest
            for one in life.activators
        }
        current = Activators(life.activators, {KEY: life.held}, {KEY: seen}, versions)
        self._activators.current = current
        moved = current.addresses != before.addresses
        changed = changed_keys(before, current)
        changed |= published.newly_known(before, current)
        for key in {KEY} if moved else changed:
            self._scaler.decide_now(key)
            self._queue.add(key)


@asynccontextmanager
async def lives() -> AsyncIterator[Callable[[], Life]]:
    """Serve an API; return what makes a life with an empty cluster, ending the one before."""
    api, made = FakeApiServer(), list[Life]()

    def end() -> None:
        if made:
            made[-1].kill()
            made[-1].workloads.stop()
            made[-1].daemon_sets.stop()

    async with connected(api) as cluster:

        def make() -> Life:
            end()
            api.objects, api.writes = FakeObjects(), []
            api.before_write = api.after_write = None
            objects = api.objects
            workloads, daemon_sets = FakeWorkloads(objects), FakeDaemonSets(objects)
            life = Life(api, cluster, objects, workloads, daemon_sets)
            api.objects.clock = lambda: life.now()[:19] + "Z"
            life.objects.create(kinds.NODE, node_body())
            made.append(life)
            return life

        yield make
        end()


def play(scenario: Callable[[Life], Coroutine[Any, Any, None]]) -> None:
    """Play a scenario on a cluster of its own with a node, on virtual time."""

    async def alone() -> None:
        async with lives() as make:
            await scenario(make())

    run(alone())


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return value
