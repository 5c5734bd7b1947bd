"""The EndpointSlices that route requests of an idle endpoint to the activator."""

from mistral_operator.api import Resource
from mistral_operator.kube import names
from mistral_operator.render.metadata import KubernetesObject, child
from mistral_operator.scale_to_zero import ActivatorRoute, terms_of


def activator_slice(resource: Resource, route: ActivatorRoute) -> KubernetesObject:
    """Return the slice. It also exists without addresses, so that the endpoint keeps its port."""
    name = names.activator_slice(resource.name, ipv6=route.ipv6)
    rendered = _slice(resource, route, name, resource.name)
    annotations = {names.ANNOTATION_ACTIVATION: terms_of(resource).model_dump_json()}
    return {**rendered, "metadata": {**rendered["metadata"], "annotations": annotations}}


def router_slice(resource: Resource, route: ActivatorRoute) -> KubernetesObject:
    """Return the slice through which the router reaches the activators."""
    name = names.router_slice(resource.name, ipv6=route.ipv6)
    return _slice(resource, route, name, names.activator_service(resource.name))


def _slice(resource: Resource, route: ActivatorRoute, name: str, service: str) -> KubernetesObject:
    rendered = child(
        resource,
        "discovery.k8s.io/v1",
        "EndpointSlice",
        name,
        addressType="IPv6" if route.ipv6 else "IPv4",
        endpoints=[
            {"addresses": [address], "conditions": {"ready": True}} for address in route.addresses
        ],
        ports=[
            {
                "name": names.PORT_HTTP,
                "port": route.port,
                "protocol": "TCP",
                "appProtocol": "http",
            }
        ],
    )
    metadata = rendered["metadata"]
    labels = {
        names.LABEL_SERVICE: service,
        names.LABEL_SLICE_MANAGER: names.MANAGED_BY,
    }
    return {**rendered, "metadata": {**metadata, "labels": {**metadata["labels"], **labels}}}
