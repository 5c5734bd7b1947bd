"""Brings the children of a resource to what is desired: render, plan, apply."""

import logging
from dataclasses import dataclass

from mistral_operator.api import Oom
from mistral_operator.api.status import Problem
from mistral_operator.apply.executor import Executor
from mistral_operator.apply.plan import Plan, make_plan
from mistral_operator.apply.replica_conflicts import Contest
from mistral_operator.control.dependencies import Dependencies
from mistral_operator.control.desired import Desired
from mistral_operator.kube.objects import Key
from mistral_operator.render import children

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
    unreported: bool = False
    """The last pass left the status to the next one."""


class Children:
    """Applies and deletes the children of resources."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._store = dependencies.store
        self._context = dependencies.context
        self._executor = Executor(dependencies.cluster, dependencies.store)
        self._contest = Contest(dependencies.clock)
        self._memories: dict[Key, _Memory] = {}

    async def bring_about(self, key: Key, desired: Desired) -> Progress:
        """Take every step that can be taken towards what is desired.

        Raises:
            Unavailable: the API server cannot be reached.
            NamespaceTerminating: the namespace is being deleted.
        """
        memory = self._memories.setdefault(key, _Memory())
        plan, contested = self._contest.settle(key, self._plan(key, desired, memory))
        problems = contested + await self._executor.execute(desired.running, plan)
        # A plan that is the same again did not help: admission changes back what it writes.
        unfinished = not plan.settled and not problems and plan != memory.plan
        memory.plan = None if plan.settled else plan
        # The controllers react to what was applied within moments: one status shows it all.
        memory.unreported = unfinished and not memory.unreported
        return Progress(tuple(problems), unfinished, status_can_wait=memory.unreported)

    def forget(self, key: Key) -> None:
        """Forget a resource that is gone; Kubernetes deletes its children."""
        self._memories.pop(key, None)
        self._contest.forget(key)

    def _plan(self, key: Key, desired: Desired, memory: _Memory) -> Plan:
        fingerprint = self._fingerprint(key, desired)
        if memory.settled == fingerprint:
            return Plan()
        rendered = children(desired.running, self._context, desired.activation)
        plan = make_plan(desired.running.uid, rendered, self._store.children_of(key))
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
        return running.uid, running.generation, *decided, live
