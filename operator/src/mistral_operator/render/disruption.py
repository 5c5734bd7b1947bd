"""The PodDisruptionBudget: node drains evict one replica at a time."""

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.render.metadata import KubernetesObject, child


def disruption_budget(resource: Resource) -> KubernetesObject:
    """Return the PodDisruptionBudget.

    A replica that is not ready may always be evicted, so that a crash-looping server does not block
    the drain of its node.
    """
    return child(
        resource,
        "policy/v1",
        "PodDisruptionBudget",
        resource.name,
        spec={
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": names.selector(resource.name)},
        },
    )
