"""The part of the operator that scales, with a clock and pods of the test."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from builders import (
    NAME,
    NAMESPACE,
    merged,
    next_version,
    ready_pod,
    resource,
    resource_body,
    signal,
)
from mistral_operator.api import AutoscalingStatus, Status
from mistral_operator.control.scaler import Scaler
from mistral_operator.kube.objects import Key
from mistral_operator.signals.activators import ActivatorBoard
from mistral_operator.signals.pods import SignalBoard, _PodRecord
from mistral_operator.watch.store import Store

KEY = Key(NAMESPACE, NAME)
PERIOD = 15.0
AT_ONCE = {"scaleUp": {"stabilizationWindowSeconds": 0}}
SPEC: dict[str, Any] = {
    "autoscaling": {"maxReplicas": 8, "targetInFlight": 10, "behavior": AT_ONCE}
}


@dataclass
class Operator:
    """The part of the operator that scales; time passes by `look`."""

    spec: dict[str, Any] = field(default_factory=lambda: SPEC)
    previous: Status = field(default_factory=Status)
    generation: int = 1
    now: float = 1000.0
    store: Store = field(default_factory=lambda: Store(()))
    board: SignalBoard = field(default_factory=SignalBoard)
    activators: ActivatorBoard = field(default_factory=ActivatorBoard)
    queued: list[Key] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scaler = Scaler(
            self.store,
            self.board,
            self.activators,
            self.queued.append,
            PERIOD,
            clock=lambda: self.now,
            wall=lambda: f"2026-03-01T12:00:00.{self.now:06.0f}Z",
        )
        self.put()

    def put(self, **metadata: Any) -> None:
        """Let the watch tell of the resource as it is now."""
        body = resource_body(self.spec, generation=self.generation, **metadata)
        self.store.resources.put(body)

    def edit(self, changes: dict[str, Any]) -> None:
        """Edit the spec."""
        self.spec, self.generation = merged(self.spec, changes), self.generation + 1
        self.put(resourceVersion=next_version())

    def hear(self, name: str = "small-1", **numbers: Any) -> None:
        """Let a ready pod say something."""
        self.store.pods.put(ready_pod(name))
        line = self.line(name)
        line.document, line.received_at = signal(**numbers), self.now

    def line(self, name: str = "small-1") -> _PodRecord:
        """Return the place of a pod on the board."""
        pod = self.store.pods.get(Key(NAMESPACE, name))
        assert pod is not None
        return self.board.record(pod)

    def look(self, times: int = 1, say: Callable[[], None] = lambda: None) -> list[Key]:
        """Let time pass, with pods that say the same again; return what was queued."""
        self.queued.clear()
        for _ in range(times):
            self.now += PERIOD
            say()
            self.scaler.look_at_all()
        return self.queued

    def reconcile(self) -> AutoscalingStatus | None:
        """Do what a reconciliation does: ask, and write it into the status."""
        current = resource(self.spec, generation=self.generation)
        status = self.scaler.decision_for(current, self.previous)
        self.previous = self.previous.model_copy(update={"autoscaling": status})
        return status

    def replicas(self) -> int:
        """Reconcile; return what was decided."""
        status = self.reconcile()
        assert status is not None
        return status.replicas
