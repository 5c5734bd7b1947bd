"""What is known of one endpoint when a user wants to see it. Pure.

`read_endpoint` fills it, `endpoint_text` and `endpoint_document` show it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mistral_operator.api import Condition, ConditionType, Status
from mistral_operator.api.spec import Spec
from mistral_operator.kube.objects import Body
from mistral_operator.plugin.last_edit import Edit
from mistral_operator.watch.facts import PodFacts
from mistral_operator.watch.pod_events import last_seen
from mistral_server.contract import SignalDocument


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod of an endpoint."""

    facts: PodFacts
    node: str = ""
    """Node of the pod; empty while it has none."""
    gpu: str = ""
    """GPUs of the node, such as `8 NVIDIA-H200`; empty if they are not known."""
    created: str = ""
    signal: SignalDocument | None = None
    """What the pod reports; None if it does not, or may not be read."""

    @property
    def state(self) -> str:
        """What the pod does, in one word."""
        facts = self.facts
        if facts.terminating:
            return "terminating"
        if facts.prefetches and facts.has_fetched:
            return "fetched"
        if facts.ready and not facts.prefetches:
            return "ready"
        if facts.gates:
            return "gated"
        if facts.unschedulable:
            return "unschedulable"
        if facts.evicted:
            return "failed"
        if facts.is_fetching:
            return "fetching"
        return self._of_containers()

    @property
    def restarts(self) -> int:
        """Restarts of all its containers."""
        return sum(one.restarts for one in self.facts.containers)

    def _of_containers(self) -> str:
        reasons = [one.waiting_reason for one in self.facts.containers if one.waiting_reason]
        unusual = [one for one in reasons if one not in _USUAL]
        if unusual:
            return unusual[0]
        if reasons or not self.facts.containers:
            return "creating"
        return str(self.signal.stage) if self.signal and self.signal.stage else "not ready"


_USUAL = {"ContainerCreating", "PodInitializing"}
"""Why containers wait on the way to a start."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One Event."""

    time: str
    type: str
    reason: str
    message: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One resource and what belongs to it."""

    name: str
    namespace: str
    created: str
    generation: int
    spec: Spec | None
    """None if this program cannot parse it, for example because the CRD is newer."""
    status: Status
    replicas: tuple[Replica, ...] | None = ()
    """Its pods; None if they may not be read."""
    prefetch_pods: tuple[Replica, ...] | None = ()
    """The pod that fetches its model in advance; None if that may not be read."""
    happenings: tuple[Happening, ...] | None = ()
    """Its Events, the newest first; None if they may not be read."""
    activator: bool | None = False
    """Whether its Service leads to the activator; None if that may not be read."""
    terminating: bool = False
    edit: Edit | None = None
    """The last edit of its spec; None if it is not known."""

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return a condition."""
        return next((one for one in self.status.conditions if one.type == kind), None)

    @property
    def reason(self) -> str:
        """The reason of its condition Ready; empty without one."""
        ready = self.condition(ConditionType.READY)
        return "" if ready is None else ready.reason


def happening(event: Body) -> Happening:
    """Return an Event in short."""
    series: Mapping[str, Any] = event.get("series") or {}
    time = last_seen(event) or event.get("metadata", {}).get("creationTimestamp")
    return Happening(
        time=str(time or ""),
        type=str(event.get("type") or ""),
        reason=str(event.get("reason") or ""),
        message=str(event.get("message") or ""),
        count=int(series.get("count") or event.get("count") or 1),
    )
