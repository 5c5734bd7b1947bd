"""The router of an endpoint: pods of Envoy between its Service and its replicas. Pure."""

from mistral_operator.api import Resource
from mistral_operator.render.context import RenderContext
from mistral_operator.render.disruption import router_budget
from mistral_operator.render.endpointslice import router_slice
from mistral_operator.render.metadata import KubernetesObject
from mistral_operator.render.router.network import router_policy
from mistral_operator.render.router.services import activator_service, replicas_service
from mistral_operator.scale_to_zero import ActivatorRoute

__all__ = ["router_children"]


def router_children(
    resource: Resource, context: RenderContext, route: ActivatorRoute | None
) -> list[KubernetesObject]:
    """Return what the router of a resource needs, without its Deployment.

    Args:
        resource: the endpoint.
        context: facts of the installation.
        route: route to the activator, None if there is none now.
    """
    rendered = [replicas_service(resource), activator_service(resource)]
    if resource.spec.network_policy:
        rendered.append(router_policy(resource, context.network))
    if route is not None:
        rendered.append(router_slice(resource, route))
    return [*rendered, router_budget(resource)]
