"""The Service for clients."""

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.kube.names import HTTP_PORT
from mistral_operator.render.metadata import KubernetesObject, child


def service(resource: Resource) -> KubernetesObject:
    """Return the Service. It routes to ready pods only."""
    return child(
        resource,
        "v1",
        "Service",
        resource.name,
        annotations=resource.spec.service.annotations,
        spec={
            "type": resource.spec.service.type,
            "selector": names.selector(resource.name),
            "ports": [
                {
                    "name": names.PORT_HTTP,
                    "port": HTTP_PORT,
                    "protocol": "TCP",
                    "targetPort": names.PORT_HTTP,
                    "appProtocol": "http",
                }
            ],
        },
    )
