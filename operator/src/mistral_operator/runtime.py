"""The running operator: connects, stands by for the Lease, then watches and reconciles.

Any part that ends, ends the process: a Deployment starts a fresh one, which begins from what the
cluster holds. Half an operator is worse than none.
"""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from typing import Any

import kopf
from prometheus_client import REGISTRY

from mistral_operator import kinds, metrics
from mistral_operator.cluster import Cluster
from mistral_operator.handlers import kopf_settings, register
from mistral_operator.kinds import Kind
from mistral_operator.leader import lead
from mistral_operator.metrics import FLEET, SCALING
from mistral_operator.reconcile import Reconciler, World
from mistral_operator.render import RenderContext
from mistral_operator.scaler import Scaler
from mistral_operator.settings import Settings
from mistral_operator.signals import SignalBoard, SignalPoller
from mistral_operator.store import Key, Store
from mistral_operator.watch import Resync, Watcher
from mistral_operator.web import Health, Loads, application, serve
from mistral_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)


class PartEnded(RuntimeError):
    """A part of the operator that should run for ever has ended."""


class StopRequested(Exception):
    """SIGTERM arrived."""


async def run(settings: Settings) -> None:
    """Run until SIGTERM or until something breaks."""
    health = Health()
    REGISTRY.register(FLEET)
    REGISTRY.register(SCALING)
    loads = Loads()
    runner = await serve(application(health, loads), settings.port)
    # One connection for each reconciliation, and some for lists, the Lease and the look-ups.
    async with await Cluster.connect(settings.concurrency + 5) as cluster:
        try:
            await _run_all(
                _wait_for_signal(),
                _beat(cluster, health),
                Operator(settings, cluster, loads).run(),
            )
        except* StopRequested:
            log.info("stopping")
        finally:
            asyncio.get_running_loop().set_exception_handler(_overlook_generators)
            await runner.cleanup()


def _overlook_generators(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of Kopf's watches, which are generators within generators.

    It leaves them to the loop's end, which closes all of them at once: an inner one is then already
    being closed by its outer one, and that is told as an error with a traceback.
    """
    if "asyncgen" not in context:
        loop.default_exception_handler(context)


async def _wait_for_signal() -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stopped.set)
    await stopped.wait()
    raise StopRequested


async def _beat(cluster: Cluster, health: Health) -> None:
    """Show that the event loop turns, and find out whether the API server can be reached."""
    while True:
        health.beat()
        if not health.ready:
            health.ready = await cluster.reachable()
        await asyncio.sleep(1)


class Operator:
    """One operator process."""

    def __init__(self, settings: Settings, cluster: Cluster, loads: Loads) -> None:
        self._settings = settings
        self._cluster = cluster
        self._loads = loads

    async def run(self) -> None:
        """Stand by for the Lease, then act."""
        if self._settings.leader_election:
            await lead(self._cluster, self._settings, self._act)
        else:
            await self._act()

    async def _act(self) -> None:
        metrics.LEADER.set(1)
        settings, cluster = self._settings, self._cluster
        child_kinds = await self._child_kinds()
        store, queue = Store(child_kinds), WorkQueue[Key]()
        watcher, board = Watcher(store, queue), SignalBoard()
        context = RenderContext(
            settings.server_image,
            pod_monitors=kinds.POD_MONITOR in child_kinds,
            scaled_objects=kinds.SCALED_OBJECT in child_kinds,
            operator_url=settings.url,
        )
        scaler = Scaler(store, board, queue.add, settings.autoscaling_seconds)
        self._loads.scaler = scaler
        reconciler = Reconciler(World(cluster, store, board, scaler, context, queue.add_after))
        resync = Resync(cluster, store, watcher, settings.namespaces)
        # Deciding before the first list is in would be deciding on nothing.
        await resync.once()
        parts = [
            self._watch(watcher, child_kinds),
            resync.forever(settings.resync_seconds),
            _gauge(queue),
            scaler.run(),
            *(queue.work(reconciler) for _ in range(settings.concurrency)),
        ]
        if settings.signal_seconds:
            poller = SignalPoller(
                store, board, queue.add, settings.signal_seconds, ready_period=scaler.period_of
            )
            parts.append(poller.run())
        await _run_all(*parts)

    async def _child_kinds(self) -> tuple[Kind, ...]:
        known = [kind for kind in kinds.OPTIONAL_KINDS if await self._cluster.knows(kind)]
        return (*kinds.CHILD_KINDS, *known)

    async def _watch(self, watcher: Watcher, child_kinds: tuple[Kind, ...]) -> None:
        registry = kopf.OperatorRegistry()
        register(registry, watcher, child_kinds)
        namespaces = self._settings.namespaces
        await kopf.operator(
            registry=registry,
            settings=kopf_settings(child_kinds),
            clusterwide=not namespaces,
            namespaces=namespaces,
        )
        # Kopf takes the signals over while it runs, and returns when one arrives.
        raise StopRequested


async def _gauge(queue: WorkQueue[Key]) -> None:
    while True:
        metrics.QUEUE_DEPTH.set(len(queue))
        metrics.QUEUE_RETRYING.set(queue.retrying)
        await asyncio.sleep(1)


async def _run_all(*parts: Coroutine[None, None, None]) -> None:
    """Run parts that should never end; the first that does, or fails, ends all."""
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(_endless(part))


async def _endless(part: Coroutine[None, None, None]) -> None:
    await part
    raise PartEnded(f"{part} ended by itself")
