"""The Service for clients."""

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.kube.names import HTTP_PORT
from mistral_operator.render.metadata import KubernetesObject, child


def service(resource: Resource, *, routed: bool = False) -> KubernetesObject:
    """Return the Service. It routes to ready pods only.

    Args:
        resource: the endpoint.
        routed: whether these are pods of the router. The activators know by the label of its
            EndpointSlices that these are no replicas.
    """
    select = names.router_selector if routed else names.selector
    return child(
        resource,
        "v1",
        "Service",
        resource.name,
        labels={names.LABEL_COMPONENT: names.ROUTER} if routed else None,
        annotations=resource.spec.service.annotations,
        spec={
            "type": resource.spec.service.type,
            "selector": select(resource.name),
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
