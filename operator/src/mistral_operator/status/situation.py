"""Everything that a status is made of."""

from dataclasses import dataclass, field

from mistral_operator.api import AutoscalingStatus, Condition, Resource, Status
from mistral_operator.observe import Observed
from mistral_operator.problem import Problem


@dataclass(frozen=True, slots=True)
class Situation:
    """One resource at one moment."""

    resource: Resource
    observed: Observed
    problems: tuple[Problem, ...] = ()
    previous: Status = field(default_factory=Status)
    scaling: AutoscalingStatus | None = None
    """What the operator's own autoscaling decided; `resource` then asks for that many replicas."""

    def said_before(self, kind: str) -> Condition | None:
        """Return a condition as it was last reported."""
        return next((one for one in self.previous.conditions if one.type == kind), None)
