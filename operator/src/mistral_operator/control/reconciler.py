"""Reconcile one resource: observe, plan, apply, report.

Level-triggered: what happened does not matter, only what is. Killed between any two writes, the
next run starts from what the cluster holds and ends in the same state.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from mistral_operator.api import (
    AutoscalingStatus,
    Oom,
    Reason,
    Resource,
    Spec,
    Status,
    identified,
    parse_resource,
)
from mistral_operator.api.status import Problem
from mistral_operator.apply.executor import Executor
from mistral_operator.apply.plan import Plan, make_plan
from mistral_operator.apply.replica_conflicts import Contest
from mistral_operator.control.activator_slices import Standby
from mistral_operator.control.collectors import FleetCollector
from mistral_operator.control.references import missing_references
from mistral_operator.control.scaler import Scaler
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import (
    ClusterError,
    InvalidResource,
    NamespaceLeaving,
    Unavailable,
)
from mistral_operator.kube.objects import Body, Key, key_of
from mistral_operator.kube.timestamps import now_text, to_seconds
from mistral_operator.metrics import RECONCILE_SECONDS, RECONCILES, WRITES
from mistral_operator.oom import (
    RemedyInputs,
    decide,
    effective_resource,
    failures_of,
    is_watched,
    seconds_until_quiet,
    settings_in_force,
)
from mistral_operator.render import RenderContext, children
from mistral_operator.render.pod import configuration
from mistral_operator.scale_to_zero import Activation
from mistral_operator.signals.activators import ActivatorBoard
from mistral_operator.signals.pods import SignalBoard
from mistral_operator.status import StatusInput, report, report_invalid
from mistral_operator.status.events import memory_events, scaling_event, transition_events
from mistral_operator.watch.facts import Observed
from mistral_operator.watch.store import Store
from mistral_operator.watch.workqueue import Outcome

log = logging.getLogger(__name__)

_Fingerprint = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a reconciler works with."""

    cluster: Cluster
    store: Store
    signals: SignalBoard
    scaler: Scaler
    activators: ActivatorBoard
    context: RenderContext
    fleet: FleetCollector
    requeue: Callable[[Key], None]
    """Requests another reconciliation of a resource, as soon as this one is over."""
    requeue_after: Callable[[Key, float], None]
    """Requests another reconciliation of a resource after some seconds."""


class Reconciler:
    """Brings resources to what they ask for, one call at a time for each."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._executor = Executor(dependencies.cluster, dependencies.store)
        self._contest = Contest()
        self._standby = Standby(dependencies.store, dependencies.activators)
        self._settled: dict[Key, _Fingerprint] = {}
        self._unreported: set[Key] = set()
        self._last_plans: dict[Key, Plan] = {}

    async def __call__(self, key: Key) -> Outcome:
        """Reconcile a resource."""
        started = time.monotonic()
        try:
            outcome = await self._reconcile(key)
            told = outcome.value
        except NamespaceLeaving:
            outcome, told = Outcome.SETTLED, "settled"
        except Unavailable as error:
            log.warning("%s/%s: %s; trying again later", *key, error)
            outcome, told = Outcome.RETRY, "error"
        except Exception:
            # One resource that cannot be handled must not stop the others; it is retried, and the
            # metric and the log say so.
            log.exception("%s/%s: unexpected error; trying again later", *key)
            outcome, told = Outcome.RETRY, "error"
        RECONCILES.labels(outcome=told).inc()
        RECONCILE_SECONDS.observe(time.monotonic() - started)
        return outcome

    async def _reconcile(self, key: Key) -> Outcome:
        body = self._dependencies.store.resources.get(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return self._forget(key)
        try:
            resource = parse_resource(body)
        except InvalidResource as error:
            return await self._refuse(key, body, error)
        scaling = self._dependencies.scaler.wanted(resource, _previous(body))
        if scaling is not None:
            resource = resource.scaled_to(scaling.replicas)
            body = await self._announce(resource, body, scaling)
        asked = resource.spec.replicas
        oom = await self._remember(key, resource, _previous(body))
        activation = self._standby.activation(key, resource)
        resource = effective_resource(self._standby.kept_awake(key, resource), oom)
        wanted = self._plan(key, resource, oom or Oom(), activation)
        plan, contested = self._contest.settle(key, wanted)
        problems = contested + await self._executor.execute(resource, plan)
        # What was written may make a next step possible, unless it is what the pass before wrote:
        # then something changes it back at once, and writing it again would not help either.
        repeated = plan == self._last_plans.get(key)
        self._remember_plan(key, plan)
        unfinished = not plan.settled and not problems and not repeated
        if unfinished and key not in self._unreported:
            # The controllers react to what was applied within moments: one status shows it all.
            self._unreported.add(key)
            return Outcome.SOON
        self._unreported.discard(key)
        observed = self._observe(key)
        problems += await missing_references(self._dependencies.cluster, resource, observed)
        status_input = StatusInput(
            resource,
            observed,
            tuple(problems),
            _previous(self._dependencies.store.resources.get(key) or body),
            oom=oom,
            scaling=scaling,
            asked=asked,
            server_image=self._dependencies.context.server_image,
        )
        status = await self._report(status_input, report)
        self._look_again(key, resource, status)
        if problems:
            return Outcome.RETRY
        return Outcome.SOON if unfinished else Outcome.SETTLED

    def _remember_plan(self, key: Key, plan: Plan) -> None:
        if plan.settled:
            self._last_plans.pop(key, None)
        else:
            self._last_plans[key] = plan

    async def _remember(self, key: Key, resource: Resource, previous: Status) -> Oom | None:
        """Return what is known of lacks of memory; written down before anything is done of it.

        Otherwise an operator that dies in between would have changed pods for a reason that is
        gone with them.
        """
        store, before, now = self._dependencies.store, previous.oom, now_text()
        departed = store.departed(key)
        failures = failures_of((*store.pods.owned(key), *departed))
        if before is None and not failures:
            store.settle_departed(key, departed)
            return None
        running = settings_in_force(resource, before)
        facts = store.deployment_of(key)
        until = seconds_until_quiet(resource.spec, previous, now)
        given = RemedyInputs(
            failures,
            configuration=configuration(running, self._dependencies.context),
            ready=bool(facts and facts.ready),
            quiet=until is not None and until <= 0 and facts is not None and facts.settled,
            now=to_seconds(now),
        )
        oom = decide(resource, before, given)
        if _told(oom) != _told(before):
            status = previous.model_copy(update={"oom": oom})
            await self._write_status(resource, status)
            for event in memory_events(resource, before, oom, now):
                await self._post(resource, event)
        store.settle_departed(key, departed)
        return oom

    def _look_again(self, key: Key, resource: Resource, status: Status) -> None:
        """Come back when the quiet period is over, if that will change anything."""
        if not is_watched(status.oom):
            return
        until = seconds_until_quiet(resource.spec, status, now_text())
        if until is not None:
            self._dependencies.requeue_after(key, max(1.0, until + 0.1))

    async def _refuse(self, key: Key, body: Body, error: InvalidResource) -> Outcome:
        """Say what is wrong with a resource; its children stay as they are."""
        resource = identified(body, Spec())
        problem = Problem(Reason.INVALID_RESOURCE, str(error))
        before = _previous(body)
        status_input = StatusInput(
            resource,
            self._observe(key),
            (problem,),
            before,
            oom=before.oom,
            scaling=before.autoscaling,
        )
        await self._report(status_input, report_invalid)
        return Outcome.SETTLED

    async def _announce(self, resource: Resource, body: Body, scaling: AutoscalingStatus) -> Body:
        """Write another number of replicas into the status before it is applied.

        An operator that is killed in between leaves its successor the decision, not the number
        before it. Returns the resource with that status.
        """
        before = _previous(body)
        if before.autoscaling is None or before.autoscaling.replicas == scaling.replicas:
            return body
        status = before.model_copy(update={"autoscaling": scaling})
        if await self._write_status(resource, status):
            await self._post(resource, scaling_event(resource, scaling, now_text()))
        return (
            self._dependencies.store.resources.get(Key(resource.namespace, resource.name)) or body
        )

    def _plan(self, key: Key, resource: Resource, oom: Oom, activation: Activation | None) -> Plan:
        """Return what brings the children to what the resource asks for."""
        if oom.stopped:
            activation = None  # who cannot start is not waited for
        fingerprint = (*self._fingerprint(key, resource, oom), activation)
        if self._settled.get(key) == fingerprint:
            return Plan()
        wanted = children(resource, self._dependencies.context, activation)
        plan = make_plan(resource.uid, wanted, self._dependencies.store.children_of(key))
        if plan.settled:
            self._settled[key] = fingerprint
        else:
            log.info("%s/%s: %s", *key, plan)
        return plan

    def _observe(self, key: Key) -> Observed:
        store = self._dependencies.store
        pods = tuple(store.pods.owned(key))
        return Observed(
            deployment=store.deployment_of(key),
            pods=pods,
            signals=self._dependencies.signals.of(pods),
            nodes=tuple(store.nodes.values()),
            keda=self._dependencies.context.scaled_objects,
            activator=bool(self._dependencies.activators.known.addresses),
        )

    async def _report(
        self, status_input: StatusInput, make: Callable[[StatusInput, str], Status]
    ) -> Status:
        """Write the status if it changed, tell of the transitions, and return it."""
        now = now_text()
        status = make(status_input, to_seconds(now))
        resource, before = status_input.resource, status_input.previous
        key = resource.namespace, resource.name
        self._dependencies.fleet.statuses[key] = status, status.desired_replicas
        if status != before and await self._write_status(resource, status):
            for event in transition_events(resource, before, status, now):
                await self._post(resource, event)
        return status

    async def _write_status(self, resource: Resource, status: Status) -> bool:
        content = status.model_dump(by_alias=True, exclude_none=True)
        cluster = self._dependencies.cluster
        try:
            live = await cluster.apply_status(resource.name, resource.namespace, content)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        WRITES.labels(kind="MistralSmallDeployment", verb="status").inc()
        self._take_in(live)
        return True

    def _take_in(self, live: Body) -> None:
        """Keep the response to a write of the status; requeue a resource that was edited meanwhile.

        The response is newer than the watch event of that edit, which is ignored when it comes.
        """
        key, resources = key_of(live), self._dependencies.store.resources
        before = resources.get(key)
        resources.put(live)
        after = resources.get(key)
        if before is None or after is None or _without_status(before) != _without_status(after):
            self._dependencies.requeue(key)

    async def _post(self, resource: Resource, event: dict[str, object]) -> None:
        try:
            await self._dependencies.cluster.post_event(resource.namespace, event)
        except ClusterError as error:
            # The status says the same; an Event that is refused must not hold the resource up.
            log.warning("%s/%s: event refused: %s", resource.namespace, resource.name, error)

    def _forget(self, key: Key) -> Outcome:
        """Drop what is kept of a resource that is gone; Kubernetes deletes its children."""
        self._settled.pop(key, None)
        self._contest.forget(key)
        self._standby.forget(key)
        self._unreported.discard(key)
        self._last_plans.pop(key, None)
        self._dependencies.fleet.statuses.pop(key, None)
        return Outcome.SETTLED

    def _fingerprint(self, key: Key, resource: Resource, oom: Oom) -> _Fingerprint:
        """Return what decides whether there is anything to do: equal means nothing changed."""
        live = tuple(
            (kind.kind, name, child.fingerprint)
            for (kind, name), child in self._dependencies.store.children_of(key).items()
        )
        spec = resource.spec
        return resource.uid, resource.generation, spec.replicas, oom.overrides, oom.stopped, live


def _told(oom: Oom | None) -> Oom | None:
    """Return the books without the identities that are only there to count right."""
    return oom and oom.model_copy(update={"counted": []})


def _without_status(body: Body) -> Body:
    return {key: one for key, one in body.items() if key != "status"}


def _previous(body: Body) -> Status:
    return Status.model_validate(body.get("status") or {})
