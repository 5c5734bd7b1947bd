"""The NetworkPolicy: allowed ingress and egress of the pods."""

from typing import Any

from mistral_operator.api import Resource
from mistral_operator.api.spec import Spec
from mistral_operator.kube import names
from mistral_operator.kube.names import HEALTH_PORT, HTTP_PORT
from mistral_operator.render.metadata import KubernetesObject, child

_EVERYWHERE_BUT_METADATA = [
    # 169.254.0.0/16 and fe80::/10 contain the metadata services of clouds: an image URL that
    # redirects there would expose the node's credentials.
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"]}},
]


def network_policy(resource: Resource) -> KubernetesObject:
    """Return the NetworkPolicy.

    The ranks of a replica communicate through sockets that listen on every interface, without
    authentication. The policy closes them to the rest of the cluster.
    """
    return child(
        resource,
        "networking.k8s.io/v1",
        "NetworkPolicy",
        resource.name,
        spec={
            "podSelector": {"matchLabels": names.selector(resource.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "ports": [
                        {"port": HTTP_PORT, "protocol": "TCP"},
                        {"port": HEALTH_PORT, "protocol": "TCP"},
                    ]
                }
            ],
            "egress": _egress(resource.spec),
        },
    )


def _egress(spec: Spec) -> list[dict[str, Any]]:
    """Allow egress only if the pod fetches its model, or images from clients' URLs."""
    local = spec.model.source.persistent_volume_claim or spec.model.source.image
    if local and not spec.images.domains:
        return []
    return [{"to": _EVERYWHERE_BUT_METADATA}]
