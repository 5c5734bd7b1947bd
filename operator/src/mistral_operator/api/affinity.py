"""`spec.pod.affinity`: which nodes and which neighbors the pods prefer or need."""

from typing import ClassVar, Literal

from pydantic import Field

from mistral_operator.api.base import ApiModel, LabelKey, LabelValue, Rule

_VALUES = Rule(
    "self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) || self.values.size() == 0"
    " : has(self.values) && self.values.size() > 0",
    "In and NotIn need values, and Exists and DoesNotExist have none",
    lambda one: (one.operator in {"Exists", "DoesNotExist"}) != bool(one.values),
)


class NodeExpression(ApiModel):
    """A requirement on a label of a node."""

    rules: ClassVar[tuple[Rule, ...]] = (_VALUES,)

    key: LabelKey
    """Key of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared with the values."""
    values: list[LabelValue] = Field(default=[], max_length=8)
    """Values, for In and NotIn."""


class NodeTerm(ApiModel):
    """Requirements on the labels of a node, which all must hold."""

    match_expressions: list[NodeExpression] = Field(min_length=1, max_length=4)
    """The requirements."""


class NodeTerms(ApiModel):
    """Terms, one of which must hold."""

    node_selector_terms: list[NodeTerm] = Field(min_length=1, max_length=2)
    """The terms."""


class PreferredNodes(ApiModel):
    """Nodes that are preferred."""

    weight: int = Field(ge=1, le=100)
    """Weight among the preferences, from 1 to 100."""
    preference: NodeTerm
    """The nodes."""


class NodeAffinity(ApiModel):
    """Nodes by their labels."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = None
    """Nodes that the pods need."""
    preferred_during_scheduling_ignored_during_execution: list[PreferredNodes] = Field(
        default=[], max_length=2
    )
    """Nodes that the pods prefer."""


class PodLabels(ApiModel):
    """Pods by their labels."""

    match_labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=4)
    """Labels that the pods must have."""


class PodTerm(ApiModel):
    """Pods of the namespace, and the domain in which they run."""

    label_selector: PodLabels
    """The pods; an empty selector selects all of the namespace."""
    topology_key: LabelKey
    """Node label whose values are the domains, such as kubernetes.io/hostname."""


class PreferredPods(ApiModel):
    """Pods near to which, or far from which, nodes are preferred."""

    weight: int = Field(ge=1, le=100)
    """Weight among the preferences, from 1 to 100."""
    pod_affinity_term: PodTerm
    """The pods."""


class PodAffinity(ApiModel):
    """Other pods by their labels."""

    required_during_scheduling_ignored_during_execution: list[PodTerm] = Field(
        default=[], max_length=2
    )
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: list[PreferredPods] = Field(
        default=[], max_length=2
    )
    """What is preferred."""


class Affinity(ApiModel):
    """Rules for the placement of pods, as in a pod."""

    node_affinity: NodeAffinity | None = None
    """Nodes by their labels."""
    pod_affinity: PodAffinity | None = None
    """Pods to run near to."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods to run far from."""
