"""The operator process: connects, acquires the Lease, then watches and reconciles.

The process exits when any of its tasks does. Its Deployment restarts it, and it continues from the
state of the cluster. A partly running operator would be worse.
"""

import asyncio
import logging
from collections.abc import Coroutine

from prometheus_client import REGISTRY

from mistral_operator import metrics
from mistral_operator.control.activator_keys import KeyMapWriter
from mistral_operator.control.activator_policies import ActivatorPolicies
from mistral_operator.control.activator_port_map import PortMapWriter
from mistral_operator.control.activator_ports import ActivatorPorts
from mistral_operator.control.collectors import FleetCollector, ScalingCollector
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.reconciler import Reconciler
from mistral_operator.control.scaler import Loads, Scaler
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster, retry_while_unavailable
from mistral_operator.kube.errors import OperatorError
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Key
from mistral_operator.process.http_server import Health, create_app, serve
from mistral_operator.process.leader_election import LeaseLost, lead
from mistral_operator.process.lifecycle import (
    StopRequested,
    exit_if_tasks_hang,
    heartbeat,
    ignore_generator_close_errors,
    leaf_errors,
    run_all,
    run_watches,
    wait_for_signal,
)
from mistral_operator.process.settings import Settings
from mistral_operator.signals.activators import (
    ActivatorBoard,
    ActivatorPoller,
    keys_scaling_to_zero,
)
from mistral_operator.signals.pods import SignalBoard, SignalPoller
from mistral_operator.watch.resync import (
    Resync,
    Watcher,
    installed_kinds,
    kind_scopes,
    wait_for_kind_change,
)
from mistral_operator.watch.store import Store
from mistral_operator.watch.streams import run_streams
from mistral_operator.watch.sweep import Sweep
from mistral_operator.watch.workqueue import WorkQueue

log = logging.getLogger(__name__)


async def run_operator(settings: Settings) -> int:
    """Run until SIGTERM or a failure; return the exit code."""
    health, exit_code = Health(), 1
    loads, fleet, scaling = Loads(), FleetCollector(), ScalingCollector()
    REGISTRY.register(fleet)
    REGISTRY.register(scaling)
    async with await Cluster.connect(_connections(settings)) as cluster:
        runner = await serve(create_app(health, loads), settings.port)
        try:
            await run_all(
                wait_for_signal(),
                heartbeat(cluster, health),
                Operator(settings, cluster, loads, fleet, scaling).run(),
            )
        except* StopRequested:
            log.info("stopping")
            exit_code = 0
        except* (LeaseLost, OperatorError) as group:
            log.warning("stopping: %s", "; ".join(map(str, leaf_errors(group))))
        finally:
            asyncio.get_running_loop().set_exception_handler(ignore_generator_close_errors)
            await runner.cleanup()
            await exit_if_tasks_hang(exit_code)
    return exit_code


def _connections(settings: Settings) -> int:
    """Return the connections for reconciliations, streams, lists, the Lease and lookups."""
    streamed = (kinds.NODE, kinds.POD, *kinds.CHILD_KINDS, *kinds.OPTIONAL_KINDS)
    streams = sum(1 for _ in kind_scopes(streamed, settings.namespaces))
    # So many that the Lease never waits for a list that hangs.
    return settings.concurrency + streams + 12


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
        """Acquire the Lease if leader election is enabled, then reconcile."""
        if self._settings.leader_election:
            await lead(self._cluster, self._settings, self._lead)
        else:
            await self._lead()

    async def _lead(self) -> None:
        metrics.LEADER.set(1)
        settings, cluster = self._settings, self._cluster
        installed = await installed_kinds(cluster)
        child_kinds = (*kinds.CHILD_KINDS, *installed)
        store, queue = Store(child_kinds), WorkQueue[Key]()
        has_activators = bool(settings.activator_service)
        watcher, board = Watcher(store, queue, urgent=has_activators), SignalBoard()
        context = settings.render_context(
            pod_monitors=kinds.POD_MONITOR in child_kinds,
            scaled_objects=kinds.SCALED_OBJECT in child_kinds,
        )
        activators = ActivatorBoard()
        cluster.availability.on_recovery = queue.retry_all
        scaler = Scaler(
            *(store, board, activators, queue.add, settings.autoscaling_seconds),
            collector=self._scaling,
        )
        self._loads.scaler = scaler
        ports = ActivatorPorts(
            *(store, settings.activator_ports_per_namespace, queue.add, settings.network),
            requeue_after=queue.add_after,
        )
        policies = (
            ActivatorPolicies(cluster, settings.namespace, settings.activator_network_policy)
            if settings.activator_network_policy
            else None
        )
        port_map = PortMapWriter(cluster, settings.namespace, ports, policies)
        key_map = KeyMapWriter(cluster, settings.namespace, store, board, ports)
        poller = self._activator_poller(scaler, queue, ports)

        async def publish_ports(key: Key) -> None:
            if poller is not None:
                await port_map.publish_for(key)
                if ports.published.newest > activators.current.port_map:
                    poller.poll_now()

        dependencies = Dependencies(
            *(cluster, store, board, scaler, activators, context, self._fleet),
            ports=ports,
            publish_ports=publish_ports,
            has_activators=has_activators,
            requeue=queue.add,
            requeue_after=queue.add_after,
        )
        reconciler = Reconciler(dependencies)
        watched = (kinds.RESOURCE, kinds.NODE, kinds.POD, *child_kinds)
        selectors = {kind: kinds.selector_of(kind) for kind in watched}
        streamed = {kind: one for kind, one in selectors.items() if kind != kinds.RESOURCE}
        resync = Resync(cluster, watcher, selectors, settings.namespaces)
        kinds_suspected = asyncio.Event()
        sweep = Sweep(
            *(cluster, store, watcher, resync, selectors, settings.namespaces),
            on_missing=kinds_suspected.set,
        )
        # Decisions need the first list.
        await resync.once()
        if settings.activator_service:
            # The activators wait for the map, also for an empty one.
            await retry_while_unavailable(port_map.begin)()
        await run_all(
            run_watches(
                *(watcher, {kinds.RESOURCE: None}),
                namespaces=lambda: resync.forbidden.namespaces(kinds.RESOURCE),
                recover=lambda: self._recover(installed, resync),
            ),
            run_streams(cluster, watcher, resync, streamed, settings.namespaces),
            resync.forever(settings.resync_seconds),
            sweep.forever(),
            self._restart_on_kind_change(installed, kinds_suspected),
            _export_queue_metrics(queue),
            scaler.run(),
            *await self._pollers(scaler, queue, poller),
            *((port_map.run(), key_map.run()) if settings.activator_service else ()),
            *(queue.work(reconciler) for _ in range(settings.concurrency)),
        )

    async def _pollers(
        self, scaler: Scaler, queue: WorkQueue[Key], activators: ActivatorPoller | None
    ) -> list[Coroutine[None, None, None]]:
        """Return the tasks that poll pods and activators."""
        settings, pollers = self._settings, []
        if settings.signal_seconds:
            pods = SignalPoller(
                *(scaler.store, scaler.board, queue.add, settings.signal_seconds),
                ready_period=scaler.period_of,
            )
            pollers.append(pods.run())
        if activators is not None:
            # Endpoints that are scaled to zero need their activators before the first poll.
            await retry_while_unavailable(activators.once)()
            pollers.append(activators.run())
        return pollers

    def _activator_poller(
        self, scaler: Scaler, queue: WorkQueue[Key], ports: ActivatorPorts
    ) -> ActivatorPoller | None:
        """Return what polls the activators, None without them."""
        if not self._settings.activator_service:
            return None

        def on_change(key: Key) -> None:
            scaler.decide_now(key)
            queue.add(key)

        return ActivatorPoller(
            self._cluster,
            namespace=self._settings.namespace,
            service=self._settings.activator_service,
            board=scaler.activators,
            endpoints=lambda: [*keys_scaling_to_zero(scaler.store), *ports.keys_secrets()],
            on_change=on_change,
            ports=ports.published,
        )

    async def _recover(self, installed: tuple[Kind, ...], resync: Resync) -> None:
        """List what failed watches missed, before they are restarted."""
        if await installed_kinds(self._cluster) != installed:
            raise StopRequested
        await resync.once()

    async def _restart_on_kind_change(
        self, installed: tuple[Kind, ...], suspected: asyncio.Event
    ) -> None:
        """Restart the process when an optional CRD is installed or removed."""
        period = self._settings.resync_seconds
        await wait_for_kind_change(self._cluster, installed, period, suspected)
        raise StopRequested


async def _export_queue_metrics(queue: WorkQueue[Key]) -> None:
    while True:
        metrics.QUEUE_DEPTH.set(len(queue))
        metrics.QUEUE_RETRYING.set(queue.retrying)
        await asyncio.sleep(1)
