"""The Services with which a router finds the replicas and the activators."""

from typing import Any

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.kube.names import HTTP_PORT
from mistral_operator.render.metadata import KubernetesObject, child


def replicas_service(resource: Resource) -> KubernetesObject:
    """Return the headless Service of the replicas.

    It publishes pods that are not ready, and Envoy checks them itself: the DNS has a pod before it
    is ready, however long its answers are cached.
    """
    return _service(
        resource,
        names.replicas_service(resource.name),
        clusterIP="None",
        publishNotReadyAddresses=True,
        selector=names.selector(resource.name),
    )


def activator_service(resource: Resource) -> KubernetesObject:
    """Return the Service of the activators. Its only EndpointSlice is the operator's."""
    return _service(resource, names.activator_service(resource.name))


def _service(resource: Resource, name: str, **fields: Any) -> KubernetesObject:
    port = {
        "name": names.PORT_HTTP,
        "port": HTTP_PORT,
        "protocol": "TCP",
        "targetPort": names.PORT_HTTP,
        "appProtocol": "http",
    }
    return child(
        resource,
        "v1",
        "Service",
        name,
        spec={"type": "ClusterIP", **fields, "ports": [port]},
    )
