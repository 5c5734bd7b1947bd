"""The ServiceAccount of an endpoint's pods: an identity without permissions."""

from mistral_operator.api import Resource
from mistral_operator.render.metadata import KubernetesObject, child


def service_account(resource: Resource) -> KubernetesObject:
    """Return the ServiceAccount."""
    return child(
        resource,
        "v1",
        "ServiceAccount",
        resource.name,
        annotations=resource.spec.pod.service_account_annotations,
        automountServiceAccountToken=False,
    )
