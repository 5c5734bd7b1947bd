"""Which nodes the pods of a resource may use, by its nodeSelector and required node affinity.

Taints are left to the scheduler, as are affinity to other pods and topology spread.
"""

from collections.abc import Mapping

from mistral_operator.api import Spec
from mistral_operator.api.affinity import NodeExpression, NodeTerms
from mistral_operator.watch.nodes import NodeFacts


def eligible_nodes(spec: Spec, nodes: tuple[NodeFacts, ...]) -> tuple[NodeFacts, ...]:
    """Return the nodes whose labels the pods of a spec accept."""
    if not selects_nodes(spec):
        return nodes
    return tuple(node for node in nodes if _accepts(spec, dict(node.labels)))


def selects_nodes(spec: Spec) -> bool:
    """Tell whether the pods need nodes with certain labels."""
    return bool(spec.pod.node_selector) or _required(spec) is not None


def _required(spec: Spec) -> NodeTerms | None:
    affinity = spec.pod.affinity
    if affinity is None or affinity.node_affinity is None:
        return None
    return affinity.node_affinity.required_during_scheduling_ignored_during_execution


def _accepts(spec: Spec, labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in spec.pod.node_selector.items()):
        return False
    required = _required(spec)
    return required is None or any(
        all(_holds(expression, labels) for expression in term.match_expressions)
        for term in required.node_selector_terms
    )


def _holds(expression: NodeExpression, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.key)
    match expression.operator:
        case "In":
            return value in expression.values
        case "NotIn":
            return value not in expression.values  # also without the label, as in Kubernetes
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
