"""The PodDisruptionBudgets: node drains evict one replica at a time."""

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.render.metadata import KubernetesObject, child


def disruption_budget(resource: Resource) -> KubernetesObject:
    """Return the PodDisruptionBudget.

    A replica that is not ready may always be evicted, so that a crash-looping server does not block
    the drain of its node.
    """
    return _budget(resource, resource.name, names.selector(resource.name))


def router_budget(resource: Resource) -> KubernetesObject:
    """Return that of the router, whose pods are evicted one at a time, too."""
    return _budget(resource, names.router(resource.name), names.router_selector(resource.name))


def _budget(resource: Resource, name: str, selector: dict[str, str]) -> KubernetesObject:
    return child(
        resource,
        "policy/v1",
        "PodDisruptionBudget",
        name,
        spec={
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector},
        },
    )
