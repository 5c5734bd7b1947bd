"""The NetworkPolicy of a router: its callers, and what it forwards to."""

from typing import Any

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.render.context import NetworkDefaults
from mistral_operator.render.metadata import KubernetesObject, child
from mistral_operator.render.network import dns, ingress, tcp
from mistral_operator.scale_to_zero import FIRST_PORT, PORTS


def router_policy(resource: Resource, defaults: NetworkDefaults) -> KubernetesObject:
    """Return the NetworkPolicy. The callers are those of the endpoint."""
    return child(
        resource,
        "networking.k8s.io/v1",
        "NetworkPolicy",
        names.router(resource.name),
        spec={
            "podSelector": {"matchLabels": names.router_selector(resource.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress(resource.spec, defaults),
            "egress": [
                {"ports": dns()},
                {
                    "to": [{"podSelector": {"matchLabels": names.selector(resource.name)}}],
                    "ports": tcp(HTTP_PORT, HEALTH_PORT),
                },
                _to_activators(defaults),
            ],
        },
    )


def _to_activators(defaults: NetworkDefaults) -> dict[str, Any]:
    labels = {names.LABEL_NAMESPACE_NAME: defaults.operator_namespace}
    ports = {"port": FIRST_PORT, "endPort": FIRST_PORT + PORTS - 1, "protocol": "TCP"}
    return {"to": [{"namespaceSelector": {"matchLabels": labels}}], "ports": [ports]}
