"""Decides, again and again, how many replicas the endpoints with `driver: Operator` get.

What is decided is kept here and in `status.autoscaling`, from which a new operator goes on. The
Deployment's replicas have one writer, `reconcile`; `spec.replicas` is never written.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mistral_operator.api import (
    Autoscaling,
    AutoscalingStatus,
    Resource,
    ScalingReason,
    Spec,
    Status,
    parse_resource,
)
from mistral_operator.autoscaling import (
    Decision,
    LoadSample,
    PodLoad,
    ScalingHistory,
    decide_replicas,
    effective_target,
    initial_history,
    polled_load,
)
from mistral_operator.control.collectors import ScalingCollector
from mistral_operator.isolation import Isolation
from mistral_operator.kube.clock import now_text
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.objects import Body, Key, key_of
from mistral_operator.kube.plurals import counted
from mistral_operator.kube.timestamps import to_seconds
from mistral_operator.scale_to_zero import can_scale_to_zero
from mistral_operator.signals.activators import ActivatorBoard
from mistral_operator.signals.pods import SignalBoard
from mistral_operator.watch.store import Store
from mistral_server.contract import SignalDocument

_FRESH_LOOKS = 3
"""A pod that has not answered for as many looks is silent; one lost answer is nothing."""

_SETTLE_LOOKS = 4
"""A reason that changes no replicas is reported once it stood for as many looks: a load that goes
to and fro about a limit must not write a status each time."""

_ROUTINE = {
    ScalingReason.STARTED,
    ScalingReason.SCALED_UP,
    ScalingReason.SCALED_DOWN,
    ScalingReason.ON_TARGET,
    ScalingReason.STABILIZED,
    ScalingReason.NOT_READY,
    ScalingReason.ASLEEP,
}
"""Reasons that need no attention; a change from one to another is not reported."""


@dataclass(slots=True)
class _Line:
    """One endpoint: what was decided, and what of it was reported."""

    resource: Resource
    memory: ScalingHistory
    reported: AutoscalingStatus
    kv_cache_tokens: int | None = None
    decision: Decision | None = None
    reason_since: float = 0.0
    """When the reason became what it is."""


@dataclass(frozen=True, slots=True)
class LoadReading:
    """The load of an endpoint, for an autoscaler that divides it by a target."""

    replicas: float
    """The load in replicas that are as full as they should be."""
    load: float
    """Productive requests in flight."""
    target: int
    """Requests in flight that a replica should have."""
    running: int
    waiting: int
    held: int
    looping: int
    silent: int


@dataclass(slots=True)
class Loads:
    """The loads of endpoints, for another autoscaler."""

    scaler: "Scaler | None" = None
    """Source of the loads; unset in a standby replica."""
    isolation: Isolation = field(default_factory=lambda: Isolation("loads"))

    def __call__(self, namespace: str, name: str) -> dict[str, Any] | str:
        """Return the load of an endpoint, or why it is not known."""
        if self.scaler is None:
            return "this is a standby replica of the operator"
        reading = None
        with self.isolation.of(Key(namespace, name)):
            reading = self.scaler.reading(Key(namespace, name))
        return "no ready pod reports its load" if reading is None else asdict(reading)


@dataclass(slots=True)
class Scaler:
    """The endpoints that this operator scales.

    Args:
        store: which resources and pods there are.
        board: the load that the pods report.
        activators: requests that wait for a ready pod.
        changed: called with each resource whose decision changed.
        period: seconds between two decisions.
        collector: shows what was decided.
        clock: the time in seconds; only goes forward.
        wall: the time as it is written into a status.
    """

    store: Store
    board: SignalBoard
    activators: ActivatorBoard
    changed: Callable[[Key], None]
    period: float = 15.0
    collector: ScalingCollector = field(default_factory=ScalingCollector)
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], str] = now_text
    _lines: dict[Key, _Line] = field(default_factory=dict)
    _isolation: Isolation = field(default_factory=lambda: Isolation("autoscaling"))

    async def run(self) -> None:
        """Decide periodically, until the task is canceled."""
        while True:
            self.look_at_all()
            await asyncio.sleep(self.period)

    def look_at_all(self) -> None:
        """Decide once for every endpoint."""
        bodies = {key_of(body): body for body in self.store.resources.values() if _may(body)}
        for key in self._lines.keys() - bodies.keys():
            self._drop(key)
        for key, body in bodies.items():
            with self._isolation.of(key):
                self._decide(key, body)

    def decide_now(self, key: Key) -> None:
        """Decide at once for an endpoint that has the first queued requests."""
        body = self.store.resources.get(key)
        if body is not None and _may(body):
            with self._isolation.of(key):
                self._decide(key, body)

    def _decide(self, key: Key, body: Body) -> None:
        line = self._line(key, body)
        if line is not None and self._look(key, line):
            self.changed(key)

    def period_of(self, key: Key) -> float | None:
        """Return how often the load of an endpoint has to be known, None if it does not matter."""
        body = self.store.resources.get(key)
        return None if body is None or not _may(body) else self.period

    def reading(self, key: Key) -> LoadReading | None:
        """Return the load of an endpoint, None if it is not known."""
        body = self.store.resources.get(key)
        if body is None or not _may(body):
            return None
        try:
            resource = parse_resource(body)
        except InvalidResource:
            return None
        spec, look = resource.spec, self._see(key, resource.spec)
        if can_scale_to_zero(spec) and not self.activators.current.addresses:
            # Nothing would scale it from zero, so no autoscaler may see its last replica as idle.
            look = replace(look, active=True)
        target = _target(spec, _kv_cache_tokens(body))
        if target is None and not look.reported:
            target = max(look.held, 1)  # one replica, which then says what it takes
        if target is None:
            return None
        frozen = look.loop_share > _spec(resource).freeze_loop_share
        load = polled_load(look, target, spec.replicas, frozen=frozen)
        if load is None:
            return None
        numbers = (target, look.running, look.waiting, look.held, look.looping, look.unreported)
        return LoadReading(load / target, load, *numbers)

    def decision_for(self, resource: Resource, previous: Status) -> AutoscalingStatus | None:
        """Return the decision that holds for a resource, None if it decides itself."""
        key = Key(resource.namespace, resource.name)
        if not _scaled_here(resource):
            self._drop(key)
            return _stopped(resource, previous, self.wall)
        line = self._lines.get(key)
        if line is None or line.resource.uid != resource.uid:
            line = self._lines[key] = self._begin(resource, previous)
            self._look(key, line)
        elif line.resource.generation != resource.generation:
            # New bounds count at once, not at the next look.
            line.resource = resource
            self._look(key, line)
        return line.reported

    def _line(self, key: Key, body: Body) -> _Line | None:
        """Return the line of an endpoint that was reconciled, with what changed since."""
        line = self._lines.get(key)
        if line is None or line.resource.uid != body["metadata"]["uid"]:
            return None
        if line.resource.generation != body["metadata"].get("generation", 1):
            try:
                line.resource = parse_resource(body)
            except InvalidResource:
                return None
        line.kv_cache_tokens = _kv_cache_tokens(body) or line.kv_cache_tokens
        return line if _scaled_here(line.resource) else None

    def _begin(self, resource: Resource, previous: Status) -> _Line:
        before = previous.autoscaling
        spec = _spec(resource)
        resumed = before is not None and before.reason != ScalingReason.STOPPED
        start = before.replicas if before is not None and resumed else resource.spec.replicas
        start = min(max(start, spec.min_replicas), spec.max_replicas)
        reported = before
        if reported is None or reported.replicas != start:
            reported = AutoscalingStatus(
                replicas=start,
                reason=ScalingReason.STARTED,
                message=f"starting with {counted(start, 'replica')}",
                time=to_seconds(self.wall()),
            )
        tokens = previous.effective.kv_cache_tokens if previous.effective is not None else None
        return _Line(resource, initial_history(start, self.clock()), reported, tokens)

    def _look(self, key: Key, line: _Line) -> bool:
        """Decide for one endpoint; return whether there is something to report."""
        spec = _spec(line.resource)
        if line.memory.replicas and not self.activators.current.addresses:
            # Nothing would scale it from zero. One that is at zero already stays there.
            spec = spec.model_copy(update={"min_replicas": max(spec.min_replicas, 1)})
        now, before = self.clock(), line.decision
        target = _target(line.resource.spec, line.kv_cache_tokens)
        sample = self._see(key, line.resource.spec)
        line.decision, line.memory = decide_replicas(spec, line.memory, sample, target, now)
        self.collector.decisions[key] = line.decision
        if before is None or _kind(before.reason) != _kind(line.decision.reason):
            line.reason_since = now
        if not self._is_news(line, now):
            return False
        line.reported = _to_status(line.decision, to_seconds(self.wall()))
        return True

    def _is_news(self, line: _Line, now: float) -> bool:
        decision, reported = line.decision, line.reported
        if decision is None or decision.replicas != reported.replicas:
            return decision is not None
        another = _kind(decision.reason) != _kind(reported.reason)
        return another and now - line.reason_since >= _SETTLE_LOOKS * self.period

    def _see(self, key: Key, spec: Spec) -> LoadSample:
        """Return the load of an endpoint.

        Queued requests are load only where they are to start a replica. While the last replica is
        replaced, they say nothing of how many replicas are needed.
        """
        now = self.clock()
        since = now - max(_FRESH_LOOKS * self.period, 30.0)
        ready = [pod for pod in self.store.replicas(key) if pod.ready and not pod.terminating]
        signals = [self.board.recent(pod, since) for pod in ready]
        loads = tuple(_load(one) for one in signals if one is not None)
        return LoadSample(
            loads,
            unreported=len(ready) - len(loads),
            held=self.activators.held(key) if can_scale_to_zero(spec) else 0,
            active=any(self.board.was_busy(pod, now - 2 * self.period) for pod in ready),
        )

    def _drop(self, key: Key) -> None:
        self._lines.pop(key, None)
        self.collector.decisions.pop(key, None)


def _may(body: Body) -> bool:
    """Tell cheaply whether a resource may be one to decide for."""
    terminating = "deletionTimestamp" in body["metadata"]
    return bool(body.get("spec", {}).get("autoscaling")) and not terminating


def _scaled_here(resource: Resource) -> bool:
    spec = resource.spec
    driven_here = spec.autoscaling is not None and spec.autoscaling.driver == "Operator"
    return driven_here and not spec.suspend and (spec.replicas > 0 or can_scale_to_zero(spec))


def _target(spec: Spec, kv_cache_tokens: int | None) -> int | None:
    target = None if spec.autoscaling is None else spec.autoscaling.target_in_flight
    return effective_target(target, kv_cache_tokens, spec.engine.max_sequences)


def _kv_cache_tokens(body: Body) -> int | None:
    tokens: int | None = body.get("status", {}).get("effective", {}).get("kvCacheTokens")
    return tokens


def _spec(resource: Resource) -> Autoscaling:
    if resource.spec.autoscaling is None:
        raise ValueError(f"{resource.name} has no autoscaling")
    return resource.spec.autoscaling


def _stopped(
    resource: Resource, previous: Status, wall: Callable[[], str]
) -> AutoscalingStatus | None:
    """Return what is said of an endpoint that would be scaled here if it were not stopped."""
    spec = resource.spec
    if spec.autoscaling is None or spec.autoscaling.driver != "Operator":
        return None
    before = previous.autoscaling
    if before is not None and before.reason == ScalingReason.STOPPED:
        return before
    return AutoscalingStatus(
        replicas=0,
        reason=ScalingReason.STOPPED,
        message="spec.suspend is true" if spec.suspend else "spec.replicas is 0",
        time=to_seconds(wall()),
    )


def _kind(reason: str) -> str:
    return ScalingReason.ON_TARGET if reason in _ROUTINE else reason


def _to_status(decision: Decision, now: str) -> AutoscalingStatus:
    look = decision.sample
    return AutoscalingStatus(
        replicas=decision.replicas,
        reason=decision.reason,
        message=decision.message,
        time=now,
        load=decision.load,
        target_in_flight=decision.target,
        running=look.running,
        waiting=look.waiting,
        held=look.held,
        looping=look.looping,
        silent_pods=look.unreported,
    )


def _load(signal: SignalDocument) -> PodLoad:
    return PodLoad(
        running=signal.running,
        waiting=signal.waiting,
        starved=signal.starved,
        looping=signal.looping,
        kv_cache_usage=signal.kv_cache_usage,
    )
