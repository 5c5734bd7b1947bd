"""The running operator: connects, stands by for the Lease, then watches and reconciles.

Any part that ends, ends the process: a Deployment starts a fresh one, which begins from what the
cluster holds. Half an operator is worse than none.
"""

import asyncio
import logging
from collections.abc import Coroutine

from prometheus_client import REGISTRY

from mistral_operator import metrics
from mistral_operator.control.collectors import FleetCollector, ScalingCollector
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.reconciler import Reconciler
from mistral_operator.control.scaler import Loads, Scaler
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster, patiently
from mistral_operator.kube.errors import OperatorError
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key
from mistral_operator.process.http_server import Health, application, serve
from mistral_operator.process.leader_election import LeaseLost, lead
from mistral_operator.process.lifecycle import (
    StopRequested,
    beat,
    end_what_hangs,
    leaves,
    overlook_generators,
    run_all,
    wait_for_signal,
    watch,
)
from mistral_operator.process.settings import Settings
from mistral_operator.render import RenderContext
from mistral_operator.signals.activators import ActivatorBoard, ActivatorPoller, sleepers
from mistral_operator.signals.pods import SignalBoard, SignalPoller
from mistral_operator.watch.resync import Resync, Watcher, installed_kinds, until_other_kinds
from mistral_operator.watch.store import Store
from mistral_operator.watch.sweep import Sweep
from mistral_operator.watch.workqueue import WorkQueue

log = logging.getLogger(__name__)


async def run(settings: Settings) -> int:
    """Run until SIGTERM or until something breaks; return the exit code."""
    health, exit_code = Health(), 1
    loads, fleet, scaling = Loads(), FleetCollector(), ScalingCollector()
    REGISTRY.register(fleet)
    REGISTRY.register(scaling)
    runner = await serve(application(health, loads), settings.port)
    # One connection for each reconciliation, and some for lists, the Lease and the look-ups.
    async with await Cluster.connect(settings.concurrency + 5) as cluster:
        try:
            await run_all(
                wait_for_signal(),
                beat(cluster, health),
                Operator(settings, cluster, loads, fleet, scaling).run(),
            )
        except* StopRequested:
            log.info("stopping")
            exit_code = 0
        except* (LeaseLost, OperatorError) as group:
            log.warning("stopping: %s", "; ".join(map(str, leaves(group))))
        finally:
            asyncio.get_running_loop().set_exception_handler(overlook_generators)
            await runner.cleanup()
            await end_what_hangs(exit_code)
    return exit_code


class Operator:
    """One operator process."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        loads: Loads,
        fleet: FleetCollector,
        scaling: ScalingCollector,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._loads = loads
        self._fleet = fleet
        self._scaling = scaling

    async def run(self) -> None:
        """Stand by for the Lease, then act."""
        if self._settings.leader_election:
            await lead(self._cluster, self._settings, self._act)
        else:
            await self._act()

    async def _act(self) -> None:
        metrics.LEADER.set(1)
        settings, cluster = self._settings, self._cluster
        installed = await installed_kinds(cluster)
        child_kinds = (*kinds.CHILD_KINDS, *installed)
        store, queue = Store(child_kinds), WorkQueue[Key]()
        watcher, board = Watcher(store, queue), SignalBoard()
        context = RenderContext(
            settings.server_image,
            pod_monitors=kinds.POD_MONITOR in child_kinds,
            scaled_objects=kinds.SCALED_OBJECT in child_kinds,
            operator_url=settings.url,
        )
        activators = ActivatorBoard()
        cluster.availability.on_return = queue.retry_all
        scaler = Scaler(
            *(store, board, activators, queue.add, settings.autoscaling_seconds),
            collector=self._scaling,
        )
        self._loads.scaler = scaler
        dependencies = Dependencies(
            *(cluster, store, board, scaler, activators, context, self._fleet),
            requeue=queue.add,
            requeue_after=queue.add_after,
        )
        reconciler = Reconciler(dependencies)
        watched = (kinds.RESOURCE, kinds.NODE, kinds.POD, *child_kinds)
        selectors = {kind: kinds.selector_of(kind) for kind in watched}
        resync = Resync(cluster, watcher, selectors, settings.namespaces)
        sweep = Sweep(cluster, store, watcher, resync, selectors, settings.namespaces)
        # Deciding before the first list is in would be deciding on nothing.
        await resync.once()
        await run_all(
            watch(
                *(watcher, selectors, settings.namespaces),
                recover=lambda: self._recover(installed, resync),
            ),
            resync.forever(settings.resync_seconds),
            sweep.forever(),
            self._until_other_kinds(installed),
            _gauge(queue),
            scaler.run(),
            *await self._questions(scaler, queue),
            *(queue.work(reconciler) for _ in range(settings.concurrency)),
        )

    async def _questions(
        self, scaler: Scaler, queue: WorkQueue[Key]
    ) -> list[Coroutine[None, None, None]]:
        """Return the parts that ask pods and activators."""
        settings, asking = self._settings, []

        def waits(key: Key) -> None:
            scaler.wake(key)
            queue.add(key)

        if settings.signal_seconds:
            pods = SignalPoller(
                *(scaler.store, scaler.board, queue.add, settings.signal_seconds),
                ready_period=scaler.period_of,
            )
            asking.append(pods.run())
        if settings.activator_service:
            activators = ActivatorPoller(
                self._cluster,
                namespace=settings.namespace,
                service=settings.activator_service,
                board=scaler.activators,
                sleepers=lambda: sleepers(scaler.store),
                news=waits,
            )
            # Who sleeps must not lose its activators because nobody has asked for them yet.
            await patiently(activators.once)()
            asking.append(activators.run())
        return asking

    async def _recover(self, installed: tuple[Kind, ...], resync: Resync) -> None:
        """Find what failed watches missed, before they are started anew."""
        if await installed_kinds(self._cluster) != installed:
            raise StopRequested
        await resync.once()

    async def _until_other_kinds(self, installed: tuple[Kind, ...]) -> None:
        """End the process when another kind of children can be made: the next one makes them."""
        await until_other_kinds(self._cluster, installed, self._settings.resync_seconds)
        raise StopRequested


async def _gauge(queue: WorkQueue[Key]) -> None:
    while True:
        metrics.QUEUE_DEPTH.set(len(queue))
        metrics.QUEUE_RETRYING.set(queue.retrying)
        await asyncio.sleep(1)
