"""Brings the children of a resource to what is desired: render, plan, apply."""

import logging
from dataclasses import dataclass, field, replace

from mistral_operator.api import Oom, Status
from mistral_operator.api.status import Problem
from mistral_operator.apply.executor import Executor
from mistral_operator.apply.plan import Plan, keep_pods, make_plan
from mistral_operator.apply.replica_conflicts import Contest
from mistral_operator.control.claims import cache_claim_facts
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.desired import Desired
from mistral_operator.control.resource_gone import confirm
from mistral_operator.control.routers import router_use, without_serving_router
from mistral_operator.control.undone_edits import UndoneEdits
from mistral_operator.kube import names
from mistral_operator.kube.kinds import (
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    JOB,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
)
from mistral_operator.kube.objects import Key
from mistral_operator.render import KubernetesObject, children
from mistral_operator.watch.live_children import LiveChild

log = logging.getLogger(__name__)

_Fingerprint = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pass brought the children of a resource."""

    problems: tuple[Problem, ...] = ()
    """What stood in the way."""
    unfinished: bool = False
    """Something was written, and what it leads to may make a next step possible."""
    status_can_wait: bool = False
    """The next pass follows within moments and reports on both."""


@dataclass(slots=True)
class _Memory:
    """What is remembered of a resource between two passes; losing it costs time alone."""

    settled: _Fingerprint | None = None
    """What a plan without steps was made of: while it is the same, no plan is needed."""
    plan: Plan | None = None
    """The last plan, if it had steps."""
    existing: set[tuple[Kind, str]] = field(default_factory=set)
    """The children after the last pass."""
    replicas: int | None = None
    """The replicas that were desired at the last plan."""
    unreported: bool = False
    """The last pass left the status to the next one."""


_ALWAYS = {SERVICE_ACCOUNT, SERVICE, DISRUPTION_BUDGET, DEPLOYMENT}
"""Kinds that every resource with a report has."""


def _plan_of(
    desired: Desired,
    rendered: tuple[KubernetesObject, ...],
    live: dict[tuple[Kind, str], LiveChild],
    before: int | None,
) -> Plan:
    """Return what is to be written; of a Deployment whose edit waits, the replicas at most."""
    uid, replicas = desired.running.uid, desired.waiting_replicas
    if not desired.keeps_template:
        return make_plan(uid, rendered, live)
    name = DEPLOYMENT.kind, desired.running.name  # a router has another Deployment
    edited = next(one for one in rendered if (one["kind"], one["metadata"]["name"]) == name)
    current = live.pop((DEPLOYMENT, desired.running.name), None)
    plan = make_plan(uid, (one for one in rendered if one is not edited), live)
    if replicas is None:
        return plan
    scaled = {**edited, "spec": {**edited["spec"], "replicas": replicas}}
    kept = keep_pods(uid, scaled, current, before)
    return replace(plan, applies=(*plan.applies, *kept))


def _recreates(plan: Plan, memory: _Memory, previous: Status) -> bool:
    """Tell whether a plan creates a child that the resource had before, or one without owner."""
    missing = {(one.kind, one.name) for one in plan.applies if not one.exists}
    if any(not one.exists and not _has_owner(one.desired) for one in plan.applies):
        return True  # nothing would delete it if the resource is gone
    reported = bool(previous.conditions)
    return any(one in memory.existing or (reported and one[0] in _ALWAYS) for one in missing)


def _has_owner(desired: KubernetesObject) -> bool:
    return "ownerReferences" in desired["metadata"]


class Children:
    """Applies and deletes the children of resources."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._store = dependencies.store
        self._context = dependencies.context
        self._executor = Executor(dependencies.cluster, dependencies.store)
        self._contest = Contest(dependencies.clock)
        self._undone = UndoneEdits(dependencies, dependencies.clock)
        self._memories: dict[Key, _Memory] = {}

    async def bring_about(self, key: Key, desired: Desired, previous: Status) -> Progress:
        """Take every step that can be taken towards what is desired.

        Args:
            key: of the resource.
            desired: what it is to become.
            previous: its status before this pass.

        Raises:
            ResourceGone: children are missing because the resource was deleted.
            Unavailable: the API server cannot be reached.
            NamespaceTerminating: the namespace is being deleted.
        """
        memory = self._memories.setdefault(key, _Memory())
        plan, contested = self._contest.settle(key, self._plan(key, desired, memory))
        if _recreates(plan, memory, previous):
            await confirm(self._dependencies, desired.written)
        live = self._store.children_of(key)
        problems = contested + await self._executor.execute(desired.running, plan)
        if not problems:
            await self._undone.post(desired.written, plan, live)
        memory.existing = self._existing(key, desired.written.uid)
        # A plan that is the same again did not help: admission changes back what it writes.
        unfinished = not plan.settled and not problems and plan != memory.plan
        memory.plan = None if plan.settled else plan
        # The controllers react to what was applied within moments: one status shows it all.
        memory.unreported = unfinished and not memory.unreported
        return Progress(tuple(problems), unfinished, status_can_wait=memory.unreported)

    def _existing(self, key: Key, uid: str) -> set[tuple[Kind, str]]:
        live = self._store.children_of(key)
        return {one for one, child in live.items() if child.controller_uid == uid}

    def forget(self, key: Key) -> None:
        """Forget a resource that is gone; Kubernetes deletes its children."""
        self._memories.pop(key, None)
        self._contest.forget(key)
        self._undone.forget(key)

    def _plan(self, key: Key, desired: Desired, memory: _Memory) -> Plan:
        fingerprint = self._fingerprint(key, desired)
        if memory.settled == fingerprint:
            return Plan()
        claim = cache_claim_facts(self._store, desired.running)
        live = self._store.children_of(key)
        rendered = children(
            *(desired.running, self._context, desired.activation, claim),
            pulling=desired.prepull.nodes,
            prefetch=desired.prefetch,
            router=router_use(desired.running, live),
        )
        if not desired.running.spec.routing.enabled:
            live = without_serving_router(desired.running, live)
        if desired.prefetch.keeps_job:
            live.pop((JOB, names.prefetch(key.name)), None)
        plan = _plan_of(desired, rendered, live, memory.replicas)
        memory.replicas = desired.running.spec.replicas
        if plan.settled:
            memory.settled = fingerprint
        else:
            log.info("%s/%s: %s", *key, "; ".join((str(plan), *desired.reasons)))
        return plan

    def _fingerprint(self, key: Key, desired: Desired) -> _Fingerprint:
        """Return what decides whether there is anything to do: equal means nothing changed."""
        live = tuple(
            (kind.kind, name, child.fingerprint)
            for (kind, name), child in self._store.children_of(key).items()
        )
        running, oom = desired.running, desired.oom or Oom()
        decided = running.spec.replicas, oom.overrides, oom.stopped, desired.activation
        use = router_use(running, self._store.children_of(key))
        waits = desired.keeps_template, desired.prepull.nodes, desired.prefetch
        return running.uid, running.generation, *decided, *waits, use, live
