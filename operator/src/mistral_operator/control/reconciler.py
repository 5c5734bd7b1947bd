"""Reconcile one resource: decide, record, bring about, report.

Level-triggered: what happened does not matter, only what is. Killed between any two writes, the
next run starts from what the cluster holds and ends in the same state.
"""

import logging
import time
from dataclasses import replace

from mistral_operator.api import (
    Reason,
    Resource,
    Spec,
    Status,
    parse_resource,
    parse_status,
    resource_with_spec,
)
from mistral_operator.api.status import Problem
from mistral_operator.control.children import Children, Progress
from mistral_operator.control.claims import (
    PENDING_SECONDS,
    cache_claim_facts,
    differing,
    explained,
)
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.desired import DecisionInputs, Desired, decide_desired
from mistral_operator.control.holds import Holds
from mistral_operator.control.prefetch_job import (
    prefetch_inputs,
    prefetch_job_of,
    rejected_pod,
)
from mistral_operator.control.prepull import PrepullInputs
from mistral_operator.control.prepulls import observe_prepull
from mistral_operator.control.references import missing_references
from mistral_operator.control.resource_gone import ResourceGone
from mistral_operator.control.routers import router_facts
from mistral_operator.control.status_writer import StatusWriter
from mistral_operator.control.waiting_pods import waiting_pods
from mistral_operator.kube.errors import (
    ClusterError,
    InvalidResource,
    NamespaceTerminating,
    Unavailable,
)
from mistral_operator.kube.objects import Body, Key
from mistral_operator.metrics import RECONCILE_SECONDS, RECONCILES
from mistral_operator.oom import believed, is_watched, seconds_until_quiet
from mistral_operator.render.allowed import check_allowed
from mistral_operator.render.pod_defaults import with_defaults
from mistral_operator.scale_to_zero import can_scale_to_zero
from mistral_operator.status import StatusInput, report, report_invalid
from mistral_operator.status.hold import observed_hold
from mistral_operator.watch.facts import Observed
from mistral_operator.watch.workqueue import ReconcileOutcome

log = logging.getLogger(__name__)

UNREPORTED = 2
"""Attempts in a row that the API server may turn down before the status says so: about 4 s with the
queue's back-off. Most conflicts are over by then."""


class Reconciler:
    """Brings resources to their desired state, one call at a time for each."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._statuses = StatusWriter(dependencies)
        self._children = Children(dependencies)
        self._ports = dependencies.ports
        self._holds = Holds(dependencies)
        self._rejections: dict[Key, str] = {}
        """What the API server rejected last, by resource."""
        self._postponed: dict[Key, int] = {}
        """Passes in a row whose writes the API server did not accept yet, by resource."""

    async def __call__(self, key: Key) -> ReconcileOutcome:
        """Reconcile a resource."""
        started = time.monotonic()
        try:
            outcome = await self._reconcile(key)
            self._rejections.pop(key, None)
            label = outcome.value
        except ResourceGone as error:
            log.info("%s", error)
            outcome = self._forget(key)
            label = outcome.value
        except NamespaceTerminating:
            outcome, label = ReconcileOutcome.SETTLED, "settled"
        except Unavailable as error:
            # Conflicts with edits are part of normal operation.
            is_conflict = error.status in {409, 410}
            level = logging.INFO if is_conflict else logging.WARNING
            log.log(level, "%s/%s: %s; trying again later", *key, error)
            outcome, label = ReconcileOutcome.RETRY, "retry" if is_conflict else "error"
        except ClusterError as error:
            # What the API server rejects besides children is the status: no condition can tell.
            self._log_rejection(key, error)
            outcome, label = ReconcileOutcome.RETRY, "error"
        except Exception:
            # One resource that cannot be handled must not stop the others; it is retried, and the
            # metric and the log say so.
            log.exception("%s/%s: unexpected error; trying again later", *key)
            outcome, label = ReconcileOutcome.RETRY, "error"
        RECONCILES.labels(outcome=label).inc()
        RECONCILE_SECONDS.observe(time.monotonic() - started)
        return outcome

    def _log_rejection(self, key: Key, error: ClusterError) -> None:
        """Log a rejected request once, until another one is rejected or none is."""
        if self._rejections.get(key) != str(error):
            log.warning("%s/%s: %s; trying again later", *key, error)
        self._rejections[key] = str(error)

    async def _reconcile(self, key: Key) -> ReconcileOutcome:
        body = self._dependencies.store.resources.get(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return self._forget(key)
        try:
            resource = parse_resource(body)
            check_allowed(resource.spec, self._dependencies.context)
            resource = with_defaults(resource, self._dependencies.context)
        except InvalidResource as error:
            return await self._reject(key, body, error)
        previous = _status_of(body, resource.spec)
        prepull = await observe_prepull(self._dependencies, resource)
        desired = self._decide(key, resource, previous, prepull)
        recorded = await self._record(key, desired, previous)
        self._holds.settle(key, desired)
        if self._ports.has(key):
            # Before the slice leads requests to the port, the activators have to know it.
            await self._publish_ports(key, desired)
        progress = await self._bring_about(key, desired, previous)
        if progress.status_can_wait:
            return ReconcileOutcome.SOON
        return await self._report(key, desired, recorded, progress)

    def _decide(
        self, key: Key, resource: Resource, previous: Status, prepull: PrepullInputs | None
    ) -> Desired:
        """Return what the resource is to become, by everything that is known now."""
        store, activators = self._dependencies.store, self._dependencies.activators.current
        port = self._holds.port(key, resource)
        if port is not None:
            activators = self._ports.published.listeners(key, port, activators)
        inputs = DecisionInputs(
            self._dependencies.now(),
            self._dependencies.context,
            scaling=self._dependencies.scaler.decision_for(resource, previous),
            pods=store.replicas(key),
            deleted_pods=tuple(store.deleted_pods(key)),
            deployment=store.deployment_of(key),
            activators=activators,
            activator_port=port,
            activators_serve=self._ports.serve(key),
            hold=self._holds.inputs(key, port, previous),
            prefetch=prefetch_inputs(self._dependencies, resource),
            prepull=prepull,
        )
        return decide_desired(resource, previous, inputs)

    async def _publish_ports(self, key: Key, desired: Desired) -> None:
        """Write the port map; an edit waits only so long for one that cannot be written."""
        try:
            await self._dependencies.publish_ports(key)
        except ClusterError as error:
            if can_scale_to_zero(desired.written.spec):
                raise
            # If no request succeeds, the next one raises.
            self._log_rejection(key, error)

    async def _record(self, key: Key, desired: Desired, previous: Status) -> Status:
        """Write the decisions down before anything is done about them; return the status then."""
        recorded = await self._statuses.record(desired, previous)
        self._dependencies.store.forget_deleted_pods(key, desired.deleted_pods)
        return recorded

    async def _bring_about(self, key: Key, desired: Desired, previous: Status) -> Progress:
        """Apply the children; tell if the API server does not accept them for some time."""
        try:
            progress = await self._children.bring_about(key, desired, previous)
        except Unavailable as error:
            self._postponed[key] = self._postponed.get(key, 0) + 1
            # Without a response, the status cannot be written either.
            if self._postponed[key] <= UNREPORTED or not error.status:
                raise
            message = f"the API server does not accept a change yet: {error.reason}; trying again"
            return Progress((Problem(Reason.CREATING, message),))
        self._postponed.pop(key, None)
        return progress

    async def _report(
        self, key: Key, desired: Desired, recorded: Status, progress: Progress
    ) -> ReconcileOutcome:
        """Observe the result, write the status, and return when to look again."""
        observed = await self._with_cache(desired.running, self._observe(key))
        router = router_facts(desired.running, self._dependencies.store.children_of(key))
        observed = replace(observed, router=router)
        cluster, pods = self._dependencies.cluster, (*observed.pods, *observed.prefetch_pods)
        events, again = await waiting_pods(cluster, pods, self._dependencies.now())
        missing = await missing_references(cluster, desired.running, observed)
        different = differing(desired.running, observed.claim)
        if different is not None:
            missing.append(different)
        status_input = StatusInput(
            desired.running,
            observed,
            (*progress.problems, *missing),
            recorded,
            oom=desired.oom,
            scaling=desired.scaling,
            requested_replicas=desired.replicas,
            server_image=self._dependencies.context.server_image,
            pod_events=events,
            hold=observed_hold(desired.hold, serves=self._ports.serve(key)),
            prefetch=desired.prefetch,
            prefetch_rejection=await rejected_pod(self._dependencies, key, observed),
            prepull=desired.prepull,
        )
        status = await self._statuses.report(status_input, report)
        for seconds in (again, desired.prepull.again):
            if seconds is not None:
                self._dependencies.requeue_after(key, seconds)
        self._requeue_after_quiet_period(key, desired.running, status)
        if status_input.problems:
            return ReconcileOutcome.RETRY
        return ReconcileOutcome.SOON if progress.unfinished else ReconcileOutcome.SETTLED

    async def _with_cache(self, resource: Resource, observed: Observed) -> Observed:
        """Return what is observed, the claim of the cache with why it is not bound, and its Job."""
        store, facts = self._dependencies.store, observed.deployment
        claim, job = cache_claim_facts(store, resource), prefetch_job_of(store, resource)
        if claim is not None and not claim.usable and not (facts is not None and facts.settled):
            key = Key(resource.namespace, resource.name)
            self._dependencies.requeue_after(key, PENDING_SECONDS)
            claim = await explained(self._dependencies.cluster, key.namespace, claim)
        return replace(observed, claim=claim, prefetch_job=job)

    def _requeue_after_quiet_period(self, key: Key, running: Resource, status: Status) -> None:
        """Come back when the quiet period is over, if that will change anything."""
        if not is_watched(status.oom):
            return
        until = seconds_until_quiet(running.spec, status, self._dependencies.now())
        if until is not None:
            self._dependencies.requeue_after(key, max(1.0, until + 0.1))

    async def _reject(self, key: Key, body: Body, error: InvalidResource) -> ReconcileOutcome:
        """Report what is wrong with a resource; its children stay as they are."""
        previous = parse_status(body.get("status")).status
        status_input = StatusInput(
            resource_with_spec(body, Spec()),
            self._observe(key),
            (Problem(Reason.INVALID_RESOURCE, str(error)),),
            previous,
            oom=previous.oom,
            scaling=previous.autoscaling,
        )
        await self._statuses.report(status_input, report_invalid)
        return ReconcileOutcome.SETTLED

    def _observe(self, key: Key) -> Observed:
        store = self._dependencies.store
        pods, prefetching = store.replicas(key), store.prefetch_pods(key)
        return Observed(
            deployment=store.deployment_of(key),
            pods=pods,
            prefetch_pods=prefetching,
            signals=self._dependencies.signals.documents((*pods, *prefetching)),
            nodes=tuple(store.nodes.values()),
            keda=self._dependencies.context.scaled_objects,
            activator=bool(self._dependencies.activators.current.addresses),
            no_port=self._ports.refusal(key),
        )

    def _forget(self, key: Key) -> ReconcileOutcome:
        """Drop what is kept of a resource that is gone."""
        store = self._dependencies.store
        store.forget_deleted_pods(key, store.deleted_pods(key))
        self._children.forget(key)
        self._ports.forget(key)
        self._holds.forget(key)
        self._rejections.pop(key, None)
        self._postponed.pop(key, None)
        self._statuses.forget(key)
        return ReconcileOutcome.SETTLED


def _status_of(body: Body, spec: Spec) -> Status:
    """Return what was reported last, as far as the operator can have reported it."""
    status = parse_status(body.get("status")).status
    if status.oom is None:
        return status
    return status.model_copy(update={"oom": believed(status.oom, spec)})
