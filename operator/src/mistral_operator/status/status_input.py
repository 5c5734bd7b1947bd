"""Everything that a status is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mistral_operator.api import AutoscalingStatus, Condition, Oom, Resource, Status
from mistral_operator.api.status import Problem
from mistral_operator.prefetch import Prefetch
from mistral_operator.status.eligible_nodes import eligible_nodes
from mistral_operator.status.hold import Hold
from mistral_operator.status.prepull import Prepull
from mistral_operator.watch.facts import Observed, PodFacts
from mistral_operator.watch.nodes import NodeFacts
from mistral_operator.watch.pod_events import PodEvents


@dataclass(frozen=True, slots=True)
class StatusInput:
    """One resource at one moment."""

    resource: Resource
    """As it runs: with the settings of `oom` in the place of the spec's."""
    observed: Observed
    problems: tuple[Problem, ...] = ()
    previous: Status = field(default_factory=Status)
    oom: Oom | None = None
    scaling: AutoscalingStatus | None = None
    """What the operator's own autoscaling decided; `resource` then has that many replicas."""
    requested_replicas: int | None = None
    """Desired replicas where `oom` lets none run."""
    server_image: str = ""
    """Image of the server where the resource names none."""
    pod_events: Mapping[str, PodEvents] = field(default_factory=dict)
    """What Events say of the pods that wait, by pod uid."""
    hold: Hold = field(default_factory=Hold)
    """Whether the activators queue requests until a replica is ready."""
    prepull: Prepull = field(default_factory=Prepull)
    """Whether an edit waits until the nodes have pulled its images."""
    prefetch: Prefetch = field(default_factory=Prefetch)
    """Whether the model is fetched in advance, and what waits for it."""
    prefetch_rejection: str = ""
    """Why the API server rejects the pod that fetches it."""

    @property
    def nodes(self) -> tuple[NodeFacts, ...]:
        """The nodes that the pods may use, by their labels."""
        return eligible_nodes(self.resource.spec, self.observed.nodes)

    def events(self, pod: PodFacts) -> PodEvents:
        """Return what Events say of a pod."""
        return self.pod_events.get(pod.uid, PodEvents())

    def previous_condition(self, kind: str) -> Condition | None:
        """Return a condition as it was last reported."""
        return next((one for one in self.previous.conditions if one.type == kind), None)
